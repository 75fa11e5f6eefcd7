import { type Node, Problems, readYaml } from '#runtime/yaml-document.ts';
import { type CellDocument, readCellDocument } from './cell-document.ts';
import { readServicePolicy, type ServicePolicy } from './manifest.ts';

interface Documents {
  readonly cells: readonly CellDocument[];
  readonly policies: readonly ServicePolicy[];
}

/**
 * Reads every document of one file.
 * @throws CellmeshError `document_invalid`; `problems` holds `file:line:column: reason` for each finding
 */
export function readDocuments(text: string, file: string): Documents {
  const problems = new Problems(file);
  const cells: CellDocument[] = [];
  const policies: ServicePolicy[] = [];
  for (const node of readYaml(text, file)) {
    const kind = kindOf(node);
    if (kind === 'Cell') push(cells, readCellDocument(node, file, problems));
    else if (kind === 'ServicePolicy') push(policies, readServicePolicy(node, file, problems));
    else problems.add(node.at, `\`kind\` must be Cell or ServicePolicy, not ${JSON.stringify(kind ?? null)}`);
  }
  problems.throwIfAny();
  return { cells, policies };
}

function kindOf(node: Node): unknown {
  const kind = node.kind === 'map' ? node.entries.get('kind')?.value : undefined;
  return kind?.kind === 'scalar' ? kind.value : undefined;
}

function push<T>(list: T[], value: T | undefined): void {
  if (value !== undefined) list.push(value);
}
