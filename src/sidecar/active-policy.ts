import { InboundPolicy } from '#policy/decide-inbound.ts';
import { OutboundPolicy } from '#policy/decide-outbound.ts';
import type { PolicySnapshot } from '#policy/snapshot.ts';
import type { Chosen } from './chosen-call.ts';

/** One snapshot in the two forms that decide. Replaced whole: no request sees half of a change. */
export interface ActivePolicy {
  readonly snapshot: PolicySnapshot;
  readonly inbound: InboundPolicy;
  readonly outbound: OutboundPolicy;
  /** By authority, for `choose`: as many as there are ways to write the hosts and ports of declared calls. */
  readonly chosen: Map<string, Chosen>;
}

export function activePolicy(snapshot: PolicySnapshot): ActivePolicy {
  return Object.freeze({
    snapshot,
    inbound: new InboundPolicy(snapshot),
    outbound: new OutboundPolicy(snapshot),
    chosen: new Map(),
  });
}
