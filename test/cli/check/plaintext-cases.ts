import type { Facts, PlaintextCaller } from '#cli/check/facts.ts';
import type { Case } from './cases.ts';
import { dayMs, manifests, nowMs, policyOf, wellOnMachine } from './well-facts.ts';

const caller: PlaintextCaller = { service: 'shop/store', address: '10.0.0.7', lastMs: nowMs - 60_000, requests: 3 };

/** `shop/store` hears callers without TLS until then. */
function heard(untilMs: number, plaintextCallers: Facts['plaintextCallers']): Facts {
  const until = new Date(untilMs).toISOString().replace('.000Z', 'Z');
  const inbound = `serviceAccount: store\n  inbound: { mode: observe-plaintext, until: "${until}" }`;
  const policy = policyOf(manifests.replace('serviceAccount: store', inbound));
  return { ...wellOnMachine, policy, plaintextCallers };
}

export const plaintextCases: readonly Case[] = [
  {
    name: 'a caller, and time left',
    facts: heard(nowMs + 90 * dayMs, { value: [caller, { ...caller, service: 'shop/web' }] }),
    verdict: 'warn',
    says: /^shop\/store is called without TLS by 10\.0\.0\.7: 3 requests, the last 1 min ago; it has `observe-plaintext`, which ends in 90 d$/,
  },
  {
    name: 'a caller who is turned away soon',
    facts: heard(nowMs + 10 * dayMs, { value: [caller] }),
    verdict: 'fail',
    says: /by 10\.0\.0\.7: .* ends in 10 d/,
  },
  {
    name: 'a caller who is turned away',
    facts: heard(nowMs - dayMs, { value: [caller] }),
    verdict: 'fail',
    says: /by 10\.0\.0\.7: .* ended 1 d ago/,
  },
  {
    name: 'nobody, so that it can be strict',
    facts: heard(nowMs + 90 * dayMs, { value: [] }),
    verdict: 'warn',
    says: /shop\/store has `observe-plaintext`, which ends in 90 d; nobody called so in 24 h/,
  },
  {
    name: 'decisions that cannot be read',
    facts: heard(nowMs + 90 * dayMs, { unknown: 'may not get decisions.cellmesh.io' }),
    verdict: 'unknown',
    says: /decisions\.cellmesh\.io/,
  },
];
