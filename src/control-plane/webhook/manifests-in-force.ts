import { readManifests } from '#policy/read-manifests.ts';
import type { Watch } from '#runtime/watch.ts';
import type { LoadedCell } from '../policy-source.ts';
import type { ManifestSource, Manifests } from './manifests.ts';

/** What the control plane has compiled, as the documents that it was compiled from. They are read once, when somebody asks. */
export function manifestsInForce(cell: Watch<LoadedCell>): ManifestSource {
  let read: { readonly from: LoadedCell; readonly manifests: Manifests } | undefined;
  return {
    current() {
      const from = cell.current;
      if (read?.from !== from) read = { from, manifests: readManifests(from.files) };
      return read.manifests;
    },
  };
}
