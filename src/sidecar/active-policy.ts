import { InboundPolicy } from '#policy/decide-inbound.ts';
import { OutboundPolicy } from '#policy/decide-outbound.ts';
import type { PolicySnapshot } from '#policy/snapshot.ts';

/** One snapshot in the two forms that decide. Replaced whole: no request sees half of a change. */
export interface ActivePolicy {
  readonly snapshot: PolicySnapshot;
  readonly inbound: InboundPolicy;
  readonly outbound: OutboundPolicy;
}

export function activePolicy(snapshot: PolicySnapshot): ActivePolicy {
  return Object.freeze({
    snapshot,
    inbound: new InboundPolicy(snapshot),
    outbound: new OutboundPolicy(snapshot),
  });
}
