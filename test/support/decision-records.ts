import type { DecisionRecord } from '#policy/decision-record.ts';

const startMs = Date.UTC(2026, 10, 28);

/** The n-th of many: a second after the one before, of the size that records have. */
export function decisionRecord(n: number, change: Partial<DecisionRecord> = {}): DecisionRecord {
  return {
    schema: 1,
    id: `web-1.${String(n).padStart(9, '0')}`,
    time: new Date(startMs + n * 1000).toISOString(),
    direction: 'inbound',
    instance: 'web-1',
    outcome: 'permit',
    status: 200,
    peer: 'spiffe://cell-1.example.com/ns/shop/sa/cart',
    service: 'shop/web',
    method: 'GET',
    path: `/v1/orders/${n}`,
    rule: 'read-orders',
    account: 'AC0123456789abcdef0123456789abcdef',
    granted: 'orders:read',
    policyVersion: 'f28dcf2f5a75',
    durationMs: 1.234,
    ...change,
  };
}

export const denied = {
  outcome: 'deny',
  status: 403,
  reason: 'scope_missing',
  failed: { condition: 'scopes', expected: 'orders:write', actual: 'orders:read' },
} as const satisfies Partial<DecisionRecord>;
