import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { PathPattern } from './path-pattern.ts';
import type { WorkloadName } from './workload-name.ts';

/** Whoever calls without TLS, and so without an identity. It is no SPIFFE ID, and none is like it. */
export const unmeshed = 'unmeshed';

/** Who is at the other end of a connection: a workload that proved it, or nobody knows. */
export type Peer = SpiffeId | typeof unmeshed;

/** Whom one entry of `from` means. */
export type PeerPattern =
  | { readonly kind: 'workload'; readonly workload: WorkloadName }
  | { readonly kind: 'id'; readonly id: SpiffeId }
  | { readonly kind: 'pattern'; readonly pattern: PathPattern }
  | { readonly kind: 'router' }
  | { readonly kind: 'unmeshed' }
  | { readonly kind: 'any' };
