import { isDeepStrictEqual } from 'node:util';
import {
  type Document,
  isCollection,
  isMap,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  stringify,
  visit,
} from 'yaml';
import { messageOf } from './errors.ts';
import { documentInvalid, problemText } from './yaml-document.ts';

/** One document of a stream of manifests that others have written, and that is printed again. */
interface StreamDocument {
  /** Its bytes in the stream; those of all documents are the stream. */
  readonly text: string;
  /** Line of the stream that it begins at, from 1. */
  readonly line: number;
  /** Undefined where there is nothing but comments. */
  readonly value: unknown;
  /** The document with another value: where that is as it was, comments and order of keys are too. */
  withValue(value: unknown): string;
}

/** `---` at the start of a line begins a document, whatever it stands in (YAML 1.2, 9.1.2). */
const documentStart = /^(?=---(?:\s|$))/m;

/**
 * Reads what `kubectl apply` takes: YAML or JSON, any number of documents. As YAML 1.1, which Kubernetes reads: there `0644` is octal, and a text `on` is
 * quoted.
 * @throws CellmeshError `document_invalid` with `file:line:column: reason` a problem
 */
export function readYamlStream(text: string, file: string): StreamDocument[] {
  let line = 1;
  return text.split(documentStart).map((part) => {
    const from = line;
    line += part.split('\n').length - 1;
    return readPart(part, file, from);
  });
}

/** Values as a stream of documents that Kubernetes reads: as YAML 1.1, where words like `on` are truth values. */
export function writeYaml(values: readonly unknown[]): string {
  const style = { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false } as const;
  return values.map((value) => stringify(value, style)).join('---\n');
}

function readPart(text: string, file: string, line: number): StreamDocument {
  const lines = new LineCounter();
  const problem = (offset: number, message: string) => {
    const at = lines.linePos(offset);
    return problemText({ file, line: line + Math.max(1, at.line) - 1, column: Math.max(1, at.col), message });
  };
  const documents = fromLibrary(problem, () => {
    const options = { version: '1.1', lineCounter: lines, prettyErrors: false, logLevel: 'silent' } as const;
    return parseAllDocuments(text, options) as Document[];
  });
  const errors = documents.flatMap(({ errors }) => errors);
  if (errors.length > 0) throw documentInvalid(errors.map(({ pos, message }) => problem(pos[0], message)));
  const [document] = documents;
  if (documents.length > 1)
    throw documentInvalid([problem(0, 'a document ends here, and another begins without `---`')]);
  const value: unknown = fromLibrary(problem, () => document?.toJS() ?? undefined);
  return { text, line, value, withValue: (next) => rewritten(document!, text, value, next) };
}

/** It throws what it likes: of brackets without end, of aliases on aliases, of a merge key that merges no map. All of it is about the text. */
function fromLibrary<T>(problem: (offset: number, message: string) => string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw documentInvalid([problem(0, messageOf(error))]);
  }
}

function rewritten(document: Document, text: string, before: unknown, after: unknown): string {
  const isIndented = !/^( *)[^\s#-][^\n]*:[ \t]*\r?\n\1- /m.test(text);
  // JSON becomes YAML; what stands behind an alias stands in two places, of which one changes.
  const isNew = /^\s*\{/.test(text) || hasAlias(document);
  document.contents = (
    isNew ? document.createNode(after) : assign(document, document.contents, before, after)
  ) as never;
  return document.toString({ lineWidth: 0, indentSeq: isIndented, flowCollectionPadding: text.includes('{ ') });
}

function hasAlias(document: Document): boolean {
  let found = false;
  visit(document, {
    Alias: () => {
      found = true;
      return visit.BREAK;
    },
  });
  return found;
}

/** Lists are those of Kubernetes: what has the same name is the same item. */
function assign(document: Document, node: unknown, before: unknown, after: unknown): Node {
  if (isDeepStrictEqual(before, after) && isCollection(node)) return node;
  if (isMap(node) && isRecord(before) && isRecord(after)) {
    for (const key of Object.keys(before)) if (!Object.hasOwn(after, key)) node.delete(key);
    for (const [key, value] of Object.entries(after)) {
      const isThere = Object.hasOwn(before, key);
      if (isThere && isDeepStrictEqual(before[key], value)) continue;
      node.set(key, isThere ? assign(document, node.get(key, true), before[key], value) : document.createNode(value));
    }
    return node;
  }
  if (isSeq(node) && Array.isArray(before) && Array.isArray(after)) {
    // What is added would stand in the same line.
    if (after.length > before.length) node.flow = false;
    node.items = after.map((item, index) => {
      const name = nameOf(item);
      const at = name === undefined ? index : before.findIndex((one) => nameOf(one) === name);
      return at >= 0 && at < before.length
        ? isDeepStrictEqual(before[at], item)
          ? node.items[at]
          : assign(document, node.items[at], before[at], item)
        : document.createNode(item);
    });
    return node;
  }
  return document.createNode(after);
}

function nameOf(item: unknown): unknown {
  return isRecord(item) ? item['name'] : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
