import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { PathPattern } from './path-pattern.ts';
import type { WorkloadName } from './workload-name.ts';

/** Whom one entry of `from` means. */
export type PeerPattern =
  | { readonly kind: 'workload'; readonly workload: WorkloadName }
  | { readonly kind: 'id'; readonly id: SpiffeId }
  | { readonly kind: 'pattern'; readonly pattern: PathPattern }
  | { readonly kind: 'router' }
  | { readonly kind: 'any' };
