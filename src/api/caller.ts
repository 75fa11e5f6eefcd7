import { adminNameOf, controlPlaneId, isRouterId } from '#certs/reserved-ids.ts';
import { type TrustDomain, trustDomainOf, workloadOf } from '#certs/spiffe-id.ts';
import type { VerifiedPeer } from '#net/verified-peer.ts';

/** What kinds of callers an API knows. `stranger`: an identity that is good, and has no business here. */
export type CallerKind = 'anonymous' | 'workload' | 'router' | 'control-plane' | 'admin' | 'stranger';

export interface Caller {
  readonly kind: CallerKind;
  /** Undefined for anonymous callers, and for operators who have shown a token. */
  readonly peer: VerifiedPeer | undefined;
  /** Whom a token was of: a user of Kubernetes. */
  readonly operator?: string;
  /** The caller's IP address, for limits and logs. */
  readonly address: string;
}

export interface CallerDomains {
  /** The trust domain whose authority this API belongs to: its workloads and admins are ours. */
  readonly own: TrustDomain;
  /** Where routers come from. */
  readonly global: TrustDomain;
}

export function callerKind(peer: VerifiedPeer | undefined, { own, global }: CallerDomains): CallerKind {
  if (peer === undefined) return 'anonymous';
  if (adminNameOf(own, peer.id) !== undefined) return 'admin';
  if (isRouterId(global, peer.id)) return 'router';
  if (peer.id === controlPlaneId(trustDomainOf(peer.id))) return 'control-plane';
  return peer.trustDomain === own && workloadOf(peer.id) !== undefined ? 'workload' : 'stranger';
}
