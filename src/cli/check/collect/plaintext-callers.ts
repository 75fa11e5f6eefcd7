import type { ApiClient } from '#api/api-client.ts';
import { storedDecisions } from '../../recorded-decisions.ts';
import type { PlaintextCaller } from '../facts.ts';

const withinMs = 24 * 3600_000;

/** Whoever came without TLS lately, by the decisions that were reported. @throws CellmeshError as `ApiClient.read` */
export async function plaintextCallersOf(
  clients: readonly ApiClient[],
  nowMs: number,
): Promise<readonly PlaintextCaller[]> {
  const callers = new Map<string, PlaintextCaller>();
  const query = { sinceMs: nowMs - withinMs, peer: 'unmeshed' };
  for await (const { service = '', address = '', time } of storedDecisions(clients, query)) {
    const key = `${service} ${address}`;
    const before = callers.get(key);
    const lastMs = Math.max(before?.lastMs ?? 0, Date.parse(time));
    callers.set(key, { service, address, lastMs, requests: (before?.requests ?? 0) + 1 });
  }
  return [...callers.values()];
}
