import type { Watch } from '#runtime/watch.ts';
import type { LoadedCell } from '../policy-source.ts';
import type { ManifestSource } from './manifests.ts';

/** The documents that the policy in force was compiled from. */
export function manifestsInForce(cell: Watch<LoadedCell>): ManifestSource {
  return {
    current() {
      const { document, policies } = cell.current;
      return { cell: document, policies };
    },
  };
}
