import { type Shape, shape } from '#policy/shapes.ts';
import { suggestion } from '#policy/suggestion.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { type Node, Problems, readYaml } from '#runtime/yaml-document.ts';
import { placeholder } from './placeholder.ts';
import type { Plain } from './tree.ts';

/** One value of an installation. */
interface Value<T> {
  readonly doc: string;
  readonly shape: Shape<T>;
  readonly fallback: T;
}
interface Group<F extends Fields = Fields> {
  readonly doc: string;
  readonly fields: F;
}
export interface Fields {
  readonly [name: string]: Value<unknown> | Group;
}
export type ValuesOf<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends Value<infer T> ? T : F[K] extends Group<infer G> ? ValuesOf<G> : never;
};

export function value<T>(shape: Shape<T>, fallback: T, doc: string): Value<T> {
  return { shape, fallback, doc };
}

export function group<F extends Fields>(doc: string, fields: F): Group<F> {
  return { fields, doc };
}

/** Whatever Kubernetes takes there. */
export const plainMap: Shape<Readonly<Record<string, Plain>>> = shape({ type: 'object' }, (node, problems) =>
  node.kind === 'map' ? (plainOf(node) as Record<string, Plain>) : problems.add(node.at, 'a map is expected'),
);
export const plainList: Shape<readonly Plain[]> = shape({ type: 'array' }, (node, problems) =>
  node.kind === 'list' ? (plainOf(node) as readonly Plain[]) : problems.add(node.at, 'a list is expected'),
);

export function defaultsOf<F extends Fields>(fields: F): ValuesOf<F> {
  return mapped(fields, ({ fallback }) => fallback);
}

/** In place of each value its name in a chart. */
export function placeholdersOf<F extends Fields>(fields: F): ValuesOf<F> {
  return mapped(fields, ({ shape: { schema } }, path) => {
    const isTree = schema.type === 'object' || schema.type === 'array';
    const isText = schema.type === 'string' || schema.enum !== undefined;
    return placeholder({ kind: isTree ? 'tree' : isText ? 'text' : 'scalar', path: `.Values.${path}` });
  });
}

/** Every value by its path, `image.name`. */
export function pathsOf(fields: Fields, prefix = ''): [path: string, value: Value<unknown>][] {
  return Object.entries(fields).flatMap(([name, field]) =>
    'fields' in field
      ? pathsOf(field.fields, `${prefix}${name}.`)
      : [[`${prefix}${name}`, field] satisfies [string, unknown]],
  );
}

interface Given {
  readonly file?: { readonly name: string; readonly text: string };
  /** `path=value`, later ones over earlier ones. */
  readonly set: readonly string[];
}

/**
 * What a file says, then what is set, over the defaults; maps are put together, lists are replaced.
 * @throws CellmeshError `document_invalid` with every problem
 */
export function readValues<F extends Fields>(fields: F, { file, set }: Given): ValuesOf<F> {
  let values: Readonly<Record<string, unknown>> = defaultsOf(fields);
  if (file !== undefined) {
    const [node, ...others] = readYaml(file.text, file.name);
    const problems = new Problems(file.name);
    if (others.length > 0) problems.add(others[0]!.at, 'one map of values is expected');
    if (node !== undefined) values = overlaid(fields, values, node, problems);
    problems.throwIfAny();
  }
  for (const one of set) {
    const problems = new Problems(`--set ${one}`);
    values = overlaid(fields, values, settingOf(one), problems);
    problems.throwIfAny();
  }
  return values as ValuesOf<F>;
}

function overlaid(
  fields: Fields,
  before: Readonly<Record<string, unknown>>,
  node: Node,
  problems: Problems,
): Readonly<Record<string, unknown>> {
  const names = Object.keys(fields);
  const values = { ...before };
  if (node.kind !== 'map') problems.add(node.at, `a map is expected (${names.join(', ')})`);
  for (const [name, entry] of node.kind === 'map' ? node.entries : []) {
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (field === undefined) problems.add(entry.keyAt, `there is no value \`${name}\`${suggestion(name, names)}`);
    else if ('fields' in field)
      values[name] = overlaid(field.fields, before[name] as Record<string, unknown>, entry.value, problems);
    else values[name] = merged(before[name], field.shape(entry.value, problems));
  }
  return values;
}

function settingOf(text: string): Node {
  const [, path, value] = /^([\w.]+)=(.*)$/s.exec(text) ?? [];
  if (path === undefined) throw new CellmeshError('config_invalid', `--set ${text}: path=value is expected`);
  const at = { line: 1, column: 1 };
  const [inner = { kind: 'scalar', at, value: '' }] = value === '' ? [] : readYaml(value!, `--set ${path}`);
  return path
    .split('.')
    .reduceRight<Node>(
      (node, name) => ({ kind: 'map', at, entries: new Map([[name, { keyAt: at, value: node }]]) }),
      inner,
    );
}

function merged(before: unknown, after: unknown): unknown {
  if (!isMap(before) || !isMap(after)) return after;
  const entries = Object.entries(after).map(([key, value]) => [key, merged(before[key], value)]);
  return { ...before, ...Object.fromEntries(entries) };
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mapped<F extends Fields>(
  fields: F,
  leaf: (value: Value<unknown>, path: string) => unknown,
  prefix = '',
): ValuesOf<F> {
  const entries = Object.entries(fields).map(([name, field]) => [
    name,
    'fields' in field ? mapped(field.fields, leaf, `${prefix}${name}.`) : leaf(field, `${prefix}${name}`),
  ]);
  return Object.fromEntries(entries);
}

function plainOf(node: Node): unknown {
  switch (node.kind) {
    case 'map':
      return Object.fromEntries([...node.entries].map(([key, { value }]) => [key, plainOf(value)]));
    case 'list':
      return node.items.map(plainOf);
    case 'scalar':
      return node.value;
  }
}
