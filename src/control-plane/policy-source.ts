import type { CellDocument } from '#policy/cell-document.ts';
import type { CompiledCell } from '#policy/compile.ts';
import type { ServicePolicy } from '#policy/manifest.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Watch } from '#runtime/watch.ts';

export interface LoadedCell {
  readonly document: CellDocument;
  readonly policies: readonly ServicePolicy[];
  readonly compiled: CompiledCell;
  /** What it was made of: the text of each file, by its name. */
  readonly files: ReadonlyMap<string, string>;
}

/** Port: where the cell and its manifests come from, as one compiled cell. */
export interface PolicySource extends AsyncDisposable {
  readonly cell: Watch<LoadedCell>;
  /** Why what was written last is not in force, or not all of it; empty when it is. */
  readonly problems: readonly string[];
}

/** Identities and tokens name the cell: it cannot change under a running control plane. @throws CellmeshError `document_invalid` */
export function refuseAnotherCell(current: CellDocument, { id, trustDomain, file }: CellDocument): void {
  if (id === current.id && trustDomain === current.trustDomain) return;
  throw new CellmeshError(
    'document_invalid',
    `${file}: the cell is ${current.id} (${current.trustDomain}) and cannot become ${id} (${trustDomain})`,
  );
}
