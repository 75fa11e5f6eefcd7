import type { CellDocument } from '#policy/cell-document.ts';
import type { ServicePolicy } from '#policy/manifest.ts';

/** Documents that stand beside each other, each with the `file` that findings name: of an object `ServicePolicy mail/one`, `Cell cell-1`. */
export interface Manifests {
  readonly cell: CellDocument | undefined;
  readonly policies: readonly ServicePolicy[];
}

/** Port: what stands in the cluster now, as far as it can be read. */
export interface ManifestSource {
  /** Undefined as long as nobody knows. */
  current(): Manifests | undefined;
}
