import { isScalar, parseDocument, stringify } from 'yaml';
import { type Placeholder, piecesOf, placeholderOf } from '#cli/install/placeholder.ts';
import { Digest, Extended, Optional, type Tree, type TreeMap, YamlText } from '#cli/install/tree.ts';

/*
 * Objects whose values are not known, as a template of Helm: YAML in which values are named. As people write it: conditions stand around what
 * they are about, at its indent.
 */

/** Longer lists of words get a line for each. */
const flowCharactersMax = 80;

/** One file of a chart: its objects, each only where its condition holds. */
export function templateText(objects: readonly Tree[]): string {
  return objects.map((one) => `${linesOf(one, 0, true).join('\n')}\n`).join('');
}

function linesOf(tree: Tree, indent: number, isDocument = false): string[] {
  const pad = ' '.repeat(indent);
  const start = isDocument ? ['---'] : [];
  if (tree instanceof Optional)
    return [`${pad}{{- if ${pathOf(tree.condition)} }}`, ...start, ...linesOf(tree.body, indent), `${pad}{{- end }}`];
  if (tree instanceof Extended) return [...linesOf(tree.base, indent), ...withValue(tree.more, '', indent)];
  if (Array.isArray(tree)) return tree.flatMap((item) => itemLines(item, indent));
  const entries = Object.entries(tree as TreeMap);
  return [...start, ...entries.flatMap(([key, value]) => entryLines(key, value, indent))];
}

function entryLines(key: string, tree: Tree, indent: number): string[] {
  const pad = ' '.repeat(indent);
  const name = scalarText(key);
  if (tree instanceof Optional) {
    const { condition, body } = tree;
    const value = placeholderOf(body);
    if (value?.kind === 'tree' && value.path === pathOf(condition)) return withValue(body, name, indent);
    return [`${pad}{{- if ${pathOf(condition)} }}`, ...entryLines(key, body, indent), `${pad}{{- end }}`];
  }
  if (tree instanceof YamlText) return [`${pad}${name}: |`, ...linesOf(tree.content, indent + 2)];
  if (tree instanceof Digest)
    return [`${pad}${name}: {{ include (print $.Template.BasePath "/${tree.file}.yaml") . | sha256sum }}`];
  const value = placeholderOf(tree);
  if (value?.kind === 'tree') return [`${pad}${name}:`, `${pad}  {{- toYaml ${value.path} | nindent ${indent + 2} }}`];
  const inline = inlineText(tree);
  if (inline !== undefined) return [`${pad}${name}: ${inline}`];
  return [`${pad}${name}:`, ...linesOf(tree, indent + 2)];
}

function itemLines(item: Tree, indent: number): string[] {
  const pad = ' '.repeat(indent);
  if (item instanceof Optional)
    return [`${pad}{{- if ${pathOf(item.condition)} }}`, ...itemLines(item.body, indent), `${pad}{{- end }}`];
  const inline = inlineText(item);
  if (inline !== undefined) return [`${pad}- ${inline}`];
  const [first, ...rest] = linesOf(item, indent + 2);
  if (first!.trimStart().startsWith('{{')) throw new Error('the first entry of an item cannot depend on a value');
  return [`${pad}- ${first!.trimStart()}`, ...rest];
}

/** What a value has, under a name of its own or among others; nothing where it is empty. */
function withValue(value: unknown, name: string, indent: number): string[] {
  const pad = ' '.repeat(indent);
  const inner = name === '' ? indent : indent + 2;
  return [
    `${pad}{{- with ${pathOf(value)} }}`,
    ...(name === '' ? [] : [`${pad}${name}:`]),
    `${' '.repeat(inner)}{{- toYaml . | nindent ${inner} }}`,
    `${pad}{{- end }}`,
  ];
}

/** In the line of its key; undefined for what needs lines of its own. */
function inlineText(tree: Tree): string | undefined {
  if (typeof tree !== 'object') return scalarText(tree);
  if (Array.isArray(tree)) {
    if (tree.length === 0) return '[]';
    const texts = tree.map((item) => (typeof item === 'object' ? undefined : scalarText(item)));
    const text = texts.includes(undefined) ? '' : `[${texts.join(', ')}]`;
    return text !== '' && text.length <= flowCharactersMax ? text : undefined;
  }
  const isEmpty = !(tree instanceof Extended) && Object.keys(tree as TreeMap).length === 0;
  return isEmpty ? '{}' : undefined;
}

function scalarText(value: string | number | boolean): string {
  if (typeof value !== 'string') return String(value);
  const pieces = piecesOf(value);
  if (pieces.every((piece) => typeof piece === 'string')) return plainText(value);
  if (pieces.length === 1) {
    const { kind, path } = pieces[0] as Placeholder;
    return kind === 'scalar' ? `{{ ${path} }}` : `{{ ${path} | quote }}`;
  }
  return `"${pieces.map((piece) => (typeof piece === 'string' ? piece : `{{ ${piece.path} }}`)).join('')}"`;
}

/** In a list in brackets too. */
function plainText(value: string): string {
  const text = stringify(value, { version: '1.1', lineWidth: 0, defaultStringType: 'PLAIN' }).trimEnd();
  const read = parseDocument(`[${text}]`, { version: '1.1' }).get(0);
  return read === value && !isScalar(read) ? text : JSON.stringify(value);
}

function pathOf(condition: unknown): string {
  const found = placeholderOf(condition);
  if (found === undefined) throw new Error('a condition is one value');
  return found.path;
}
