import { isCellmeshError } from '#runtime/errors.ts';
import type { Node, Position, Problems } from '#runtime/yaml-document.ts';

/**
 * What a document may look like, as values that read it. A shape reads a node into a value, or says what is wrong and where and
 * returns undefined; it goes on after a problem, so that one run shows them all.
 */
export type Shape<T> = (node: Node, problems: Problems) => T | undefined;

type Field<T> = { readonly shape: Shape<T>; readonly isRequired: boolean };
type ShapeOf<F> = F extends Field<infer T> ? T : never;
type RequiredKeys<F> = { [K in keyof F]: F[K] extends { isRequired: true } ? K : never }[keyof F];
type ObjectOf<F> = { readonly [K in RequiredKeys<F>]: ShapeOf<F[K]> } & {
  readonly [K in Exclude<keyof F, RequiredKeys<F>>]?: ShapeOf<F[K]>;
};

export function required<T>(shape: Shape<T>): Field<T> & { readonly isRequired: true } {
  return { shape, isRequired: true };
}

export function optional<T>(shape: Shape<T>): Field<T> & { readonly isRequired: false } {
  return { shape, isRequired: false };
}

/** A value together with where it stands, for checks that need to see several values. */
export interface Located<T> {
  readonly value: T;
  readonly at: Position;
}

export function located<T>(shape: Shape<T>): Shape<Located<T>> {
  return (node, problems) => {
    const value = shape(node, problems);
    return value === undefined ? undefined : { value, at: node.at };
  };
}

/** A map with exactly these keys. */
export function object<F extends Record<string, Field<unknown>>>(fields: F): Shape<ObjectOf<F>> {
  const names = Object.keys(fields);
  return (node, problems) => {
    if (node.kind !== 'map') return problems.add(node.at, `a map is expected (${names.join(', ')})`);
    let isWhole = true;
    for (const [name, { keyAt }] of node.entries) {
      if (Object.hasOwn(fields, name)) continue;
      isWhole = false;
      problems.add(keyAt, `unknown key \`${name}\`${suggestion(name, names)}`);
    }
    const result: Record<string, unknown> = {};
    for (const [name, { shape, isRequired }] of Object.entries(fields)) {
      const entry = node.entries.get(name);
      if (entry === undefined) {
        if (isRequired) problems.add(node.at, `\`${name}\` is missing`);
        isWhole &&= !isRequired;
        continue;
      }
      const value = shape(entry.value, problems);
      if (value === undefined) isWhole = false;
      else result[name] = value;
    }
    return isWhole ? (result as ObjectOf<F>) : undefined;
  };
}

export function list<T>(item: Shape<T>, { min = 0, max }: { min?: number; max: number }): Shape<readonly T[]> {
  return (node, problems) => {
    if (node.kind !== 'list') return problems.add(node.at, 'a list is expected');
    if (node.items.length < min)
      return problems.add(node.at, `the list needs at least ${min} item${min === 1 ? '' : 's'}`);
    if (node.items.length > max)
      return problems.add(node.at, `the list has ${node.items.length} items, at most ${max} are allowed`);
    const values = node.items.map((entry) => item(entry, problems));
    return values.every((value) => value !== undefined) ? (values as T[]) : undefined;
  };
}

/** A map from names of the author's choice to values of one shape. */
export function dictionary<T>(value: Shape<T>, max: number): Shape<ReadonlyMap<string, Located<T>>> {
  return (node, problems) => {
    if (node.kind !== 'map') return problems.add(node.at, 'a map is expected');
    if (node.entries.size > max)
      return problems.add(node.at, `the map has ${node.entries.size} entries, at most ${max} are allowed`);
    const result = new Map<string, Located<T>>();
    for (const [name, entry] of node.entries) {
      const read = value(entry.value, problems);
      if (read !== undefined) result.set(name, { value: read, at: entry.keyAt });
    }
    return result.size === node.entries.size ? result : undefined;
  };
}

export function text({ max = 256, what = 'text' }: { max?: number; what?: string } = {}): Shape<string> {
  return (node, problems) => {
    if (node.kind !== 'scalar' || typeof node.value !== 'string') return problems.add(node.at, `${what} is expected`);
    if (node.value === '' || node.value.length > max)
      return problems.add(node.at, `${what} of 1 to ${max} characters is expected`);
    return node.value;
  };
}

export function matching(pattern: RegExp, what: string): Shape<string> {
  const inner = text({ what });
  return (node, problems) => {
    const value = inner(node, problems);
    if (value === undefined || pattern.test(value)) return value;
    return problems.add(node.at, `${JSON.stringify(value)} is no ${what}`);
  };
}

export function oneOf<const T extends string | number>(...values: readonly T[]): Shape<T> {
  return (node, problems) => {
    const found = node.kind === 'scalar' ? values.find((value) => value === node.value) : undefined;
    if (found !== undefined) return found;
    const written = node.kind === 'scalar' ? String(node.value) : node.kind;
    return problems.add(
      node.at,
      `${values.join(' or ')} is expected, not ${JSON.stringify(written)}${suggestion(written, values.map(String))}`,
    );
  };
}

export const flag: Shape<boolean> = (node, problems) =>
  node.kind === 'scalar' && typeof node.value === 'boolean'
    ? node.value
    : problems.add(node.at, 'true or false is expected');

export function integer(min: number, max: number): Shape<number> {
  return (node, problems) => {
    const value = node.kind === 'scalar' ? node.value : undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    return problems.add(node.at, `a whole number from ${min} to ${max} is expected`);
  };
}

/** Text that `parse` turns into a value; its CellmeshError becomes a problem at this place. */
export function parsed<T>(parse: (text: string) => T, what: string, max = 2048): Shape<T> {
  const inner = text({ max, what });
  return (node, problems) => {
    const value = inner(node, problems);
    if (value === undefined) return undefined;
    try {
      return parse(value);
    } catch (error) {
      if (isCellmeshError(error)) return problems.add(node.at, error.message);
      throw error;
    }
  };
}

/** A value that the standard knows and this version does not do yet. */
export function notYet<T>(shape: Shape<T>, isSupported: (value: T) => boolean, feature: string): Shape<T> {
  return (node, problems) => {
    const value = shape(node, problems);
    if (value === undefined || isSupported(value)) return value;
    return problems.add(node.at, `${feature} is not yet supported`);
  };
}

function suggestion(written: string, names: readonly string[]): string {
  const near = names.find((name) => editDistanceAtMost2(written.toLowerCase(), name.toLowerCase()));
  return near === undefined ? '' : `; did you mean \`${near}\`?`;
}

function editDistanceAtMost2(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 2 || a.length > 64) return false;
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitution, previous[j]! + 1, row[j - 1]! + 1));
    }
    previous = row;
  }
  return previous[b.length]! <= 2;
}
