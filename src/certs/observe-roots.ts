import type { Metrics } from '#runtime/metrics.ts';
import type { Authority } from './authority.ts';
import type { RootHolder } from './root-holder.ts';

/** When what an authority signs with ends. */
export function observeRoots(
  metrics: Metrics,
  { authority, roots }: { readonly authority: Authority; readonly roots: Pick<RootHolder, 'status'> },
): void {
  metrics.family({
    name: 'cellmesh_root_not_after_seconds',
    help: 'End of each root, seconds since the epoch.',
    type: 'gauge',
    read: () =>
      roots
        .status()
        .roots.map(({ phase, serial, notAfter }) => ({ labels: { phase, serial }, value: notAfter / 1000 })),
  });
  metrics.observed(
    'cellmesh_intermediate_not_after_seconds',
    'End of the certificate that signs SVIDs here, seconds since the epoch.',
    () => authority.intermediate.notAfter / 1000,
  );
}
