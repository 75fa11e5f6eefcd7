import { type Node, Problems, readYamlNodes } from '#runtime/yaml-document.ts';
import { type CellDocument, readCellDocument } from './cell-document.ts';
import { readServicePolicy, type ServicePolicy } from './manifest.ts';

export interface Documents {
  readonly cells: readonly CellDocument[];
  readonly policies: readonly ServicePolicy[];
}

/**
 * Reads every document of one file.
 * @throws CellmeshError `document_invalid`; `problems` holds `file:line:column: reason` for each finding
 */
export function readDocuments(text: string, file: string): Documents {
  const problems = new Problems(file);
  const documents = collectDocuments(text, file, problems);
  problems.throwIfAny();
  return documents;
}

/** The documents of one file that can be read; findings go to `problems`. */
export function collectDocuments(text: string, file: string, problems: Problems): Documents {
  const cells: CellDocument[] = [];
  const policies: ServicePolicy[] = [];
  for (const node of readYamlNodes(text, problems) ?? []) {
    const kind = kindOf(node);
    if (kind === 'Cell') push(cells, readCellDocument(node, file, problems));
    else if (kind === 'ServicePolicy') push(policies, readServicePolicy(node, file, problems));
    else if (kind === 'PolicyTest') problems.add(node.at, 'a PolicyTest belongs into a file named *.test.yaml');
    else problems.add(node.at, `\`kind\` must be Cell or ServicePolicy, not ${JSON.stringify(kind ?? null)}`);
  }
  return { cells, policies };
}

function kindOf(node: Node): unknown {
  const kind = node.kind === 'map' ? node.entries.get('kind')?.value : undefined;
  return kind?.kind === 'scalar' ? kind.value : undefined;
}

function push<T>(list: T[], value: T | undefined): void {
  if (value !== undefined) list.push(value);
}
