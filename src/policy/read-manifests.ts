import { documentInvalid, type Problem, Problems, problemText } from '#runtime/yaml-document.ts';
import type { CellDocument } from './cell-document.ts';
import type { ServicePolicy } from './manifest.ts';
import { collectDocuments, type Documents } from './read-documents.ts';

/** All documents of a cell. */
interface Manifests {
  readonly cell: CellDocument;
  readonly policies: readonly ServicePolicy[];
}

interface Collected extends Documents {
  readonly problems: readonly Problem[];
}

/**
 * Reads the manifests of a cell.
 * @param texts by the name of their file
 * @throws CellmeshError `document_invalid` with the problems of all files; what several manifests must hold together is `compileCell`'s
 */
export function readManifests(texts: ReadonlyMap<string, string>): Manifests {
  const { cells, policies, problems } = collectManifests(texts);
  if (problems.length > 0) throw documentInvalid(problems.map(problemText));
  const [cell] = cells;
  if (cell === undefined) throw documentInvalid(['no file holds a Cell document']);
  return { cell, policies };
}

/** What can be read of `texts` (by the name of their file), and everything that is wrong; there may be no Cell document. */
export function collectManifests(texts: ReadonlyMap<string, string>): Collected {
  const cells: CellDocument[] = [];
  const policies: ServicePolicy[] = [];
  const problems: Problem[] = [];
  for (const [file, text] of texts) {
    const found = new Problems(file);
    const documents = collectDocuments(text, file, found);
    cells.push(...documents.cells);
    policies.push(...documents.policies);
    problems.push(...found.all);
  }
  const [first, ...others] = cells;
  for (const { file, at } of others)
    problems.push({ file, ...at, message: `a second Cell document; the first is in ${first!.file}` });
  return { cells, policies, problems };
}
