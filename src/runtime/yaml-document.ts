import { isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments, type Node as YamlNode } from 'yaml';
import { CellmeshError } from './errors.ts';

/** A place in a file, counted from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** A YAML value that remembers where it stands. */
export type Node =
  | { readonly kind: 'map'; readonly at: Position; readonly entries: ReadonlyMap<string, MapEntry> }
  | { readonly kind: 'list'; readonly at: Position; readonly items: readonly Node[] }
  | { readonly kind: 'scalar'; readonly at: Position; readonly value: string | number | boolean | null };

interface MapEntry {
  readonly keyAt: Position;
  readonly value: Node;
}

/** One thing that is wrong with a file, and where. */
export interface Problem extends Position {
  readonly file: string;
  readonly message: string;
}

/** `file:line:column: message`, as compilers say it. */
export function problemText({ file, line, column, message }: Problem): string {
  return `${file}:${line}:${column}: ${message}`;
}

/** Collects what is wrong with a file, so that its author sees everything at once. */
export class Problems {
  readonly #file: string;
  readonly #all: Problem[] = [];

  constructor(file: string) {
    this.#file = file;
  }

  add({ line, column }: Position, message: string): undefined {
    if (this.#all.length < problemsMax) this.#all.push({ file: this.#file, line, column, message });
    return undefined;
  }

  get all(): readonly Problem[] {
    return this.#all;
  }

  /** @throws CellmeshError `document_invalid` when anything was added */
  throwIfAny(): void {
    if (this.#all.length > 0) throw documentInvalid(this.#all.map(problemText));
  }
}

/** A manifest of 10,000 rules has about 1 MB. */
const documentBytesMax = 4 * 1024 * 1024;
/** The deepest manifest field lies at 7. */
const documentDepthMax = 16;
const problemsMax = 100;

export function documentInvalid(problems: readonly string[]): CellmeshError {
  return new CellmeshError(
    'document_invalid',
    problems.length === 1 ? problems[0]! : `${problems[0]} (and ${problems.length - 1} more)`,
    { problems },
  );
}

/**
 * Reads the YAML documents of one file; empty documents are left out. Strict: no duplicate keys, no anchors or aliases (they make
 * small files large), no tags, text keys only.
 * @throws CellmeshError `document_invalid` with `file:line:column: reason` a problem
 */
export function readYaml(text: string, file: string): Node[] {
  const problems = new Problems(file);
  const nodes = readYamlNodes(text, problems);
  problems.throwIfAny();
  return nodes ?? [];
}

/** `readYaml` whose findings go to `problems`; undefined when there were any. */
export function readYamlNodes(text: string, problems: Problems): Node[] | undefined {
  const before = problems.all.length;
  const start = { line: 1, column: 1 };
  if (Buffer.byteLength(text) > documentBytesMax)
    return problems.add(start, `the file is longer than ${documentBytesMax} bytes`);
  const lines = new LineCounter();
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const documents = parseDocuments(text, lines);
  if (documents === undefined) return problems.add(start, `the file is nested deeper than ${documentDepthMax} levels`);
  const nodes: Node[] = [];
  for (const document of 'empty' in documents ? [] : documents) {
    for (const finding of [...document.errors, ...document.warnings])
      problems.add(position(finding.pos[0]), finding.message);
    if (document.errors.length > 0 || document.contents === null) continue;
    const node = convert(document.contents as YamlNode, position, problems, 0);
    if (node !== undefined && !(node.kind === 'scalar' && node.value === null)) nodes.push(node);
  }
  return problems.all.length === before ? nodes : undefined;
}

function parseDocuments(text: string, lineCounter: LineCounter): ReturnType<typeof parseAllDocuments> | undefined {
  try {
    // The library compares each key with all before it; `convert` looks it up.
    return parseAllDocuments(text, {
      lineCounter,
      uniqueKeys: false,
      strict: true,
      prettyErrors: false,
      logLevel: 'silent',
    });
  } catch (error) {
    // The library descends by recursion: a file of brackets exhausts the stack.
    if (!(error instanceof RangeError)) throw error;
    return undefined;
  }
}

function convert(
  node: YamlNode | null,
  position: (offset: number) => Position,
  problems: Problems,
  depth: number,
): Node | undefined {
  const at = position(node?.range?.[0] ?? 0);
  if (depth > documentDepthMax) return problems.add(at, `this lies deeper than ${documentDepthMax} levels`);
  if (node === null) return { kind: 'scalar', at, value: null };
  if (isAlias(node) || ('anchor' in node && node.anchor))
    return problems.add(at, 'anchors and aliases are not supported; write the value out');
  if (isMap(node)) {
    const entries = new Map<string, MapEntry>();
    for (const { key, value } of node.items) {
      const keyAt = position((key as YamlNode | null)?.range?.[0] ?? node.range?.[0] ?? 0);
      if (!isScalar(key) || typeof key.value !== 'string') problems.add(keyAt, 'a key must be plain text');
      else if (entries.has(key.value)) problems.add(keyAt, `the key \`${key.value.slice(0, 64)}\` stands here twice`);
      else {
        const converted = convert(value as YamlNode | null, position, problems, depth + 1);
        if (converted !== undefined) entries.set(key.value, { keyAt, value: converted });
      }
    }
    return { kind: 'map', at, entries };
  }
  if (isSeq(node)) {
    const items = node.items.map((item) => convert(item as YamlNode | null, position, problems, depth + 1));
    return { kind: 'list', at, items: items.filter((item) => item !== undefined) };
  }
  if (!isScalar(node)) return problems.add(at, 'this kind of value is not supported');
  const { value } = node;
  if (value !== null && !['string', 'number', 'boolean'].includes(typeof value))
    return problems.add(at, 'this kind of value is not supported');
  return { kind: 'scalar', at, value: value as string | number | boolean | null };
}
