import { isCellmeshError } from '#runtime/errors.ts';
import { type Node, type Position, Problems } from '#runtime/yaml-document.ts';
import type { JsonSchema } from './json-schema.ts';
import { suggestion } from './suggestion.ts';

/**
 * What a document may look like, as values that read it. A shape reads a node into a value, or says what is wrong and where and
 * returns undefined; it goes on after a problem, so that one run shows them all. Its `schema` says the same to editors, as far as
 * JSON Schema can: it takes all that the shape takes, and refuses what it can see without a parser of ours.
 */
export interface Shape<T> {
  (node: Node, problems: Problems): T | undefined;
  readonly schema: JsonSchema;
}

export type ShapeValue<S> = S extends Shape<infer T> ? T : never;

interface Field<T> {
  readonly shape: Shape<T>;
  readonly isRequired: boolean;
  readonly description: string;
}
type FieldValue<F> = F extends Field<infer T> ? T : never;
type RequiredKeys<F> = { [K in keyof F]: F[K] extends { isRequired: true } ? K : never }[keyof F];
type ObjectOf<F> = { readonly [K in RequiredKeys<F>]: FieldValue<F[K]> } & {
  readonly [K in Exclude<keyof F, RequiredKeys<F>>]?: FieldValue<F[K]>;
};

/** `description`: one sentence for the author of a document, shown by editors. */
export function required<T>(shape: Shape<T>, description: string): Field<T> & { readonly isRequired: true } {
  return { shape, isRequired: true, description };
}

/** `description`: one sentence for the author of a document, shown by editors. */
export function optional<T>(shape: Shape<T>, description: string): Field<T> & { readonly isRequired: false } {
  return { shape, isRequired: false, description };
}

/** A shape of its own kind. */
export function shape<T>(schema: JsonSchema, read: (node: Node, problems: Problems) => T | undefined): Shape<T> {
  return Object.assign(read, { schema });
}

/** A value together with where it stands, for checks that need to see several values. */
export interface Located<T> {
  readonly value: T;
  readonly at: Position;
}

export function located<T>(inner: Shape<T>): Shape<Located<T>> {
  return shape(inner.schema, (node, problems) => {
    const value = inner(node, problems);
    return value === undefined ? undefined : { value, at: node.at };
  });
}

/** A map with exactly these keys. */
export function object<F extends Record<string, Field<unknown>>>(fields: F): Shape<ObjectOf<F>> {
  const names = Object.keys(fields);
  const all = Object.entries(fields);
  const schema = {
    type: 'object',
    properties: Object.fromEntries(
      all.map(([name, { shape, description }]) => [name, { description, ...shape.schema }]),
    ),
    required: names.filter((name) => fields[name]!.isRequired),
    additionalProperties: false,
  } as const;
  return shape(schema, (node, problems) => {
    if (node.kind !== 'map') return problems.add(node.at, `a map is expected (${names.join(', ')})`);
    let isWhole = true;
    for (const [name, { keyAt }] of node.entries) {
      if (Object.hasOwn(fields, name)) continue;
      isWhole = false;
      problems.add(keyAt, `unknown key \`${name}\`${suggestion(name, names)}`);
    }
    const result: Record<string, unknown> = {};
    for (const [name, { shape, isRequired }] of all) {
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
  });
}

export function list<T>(item: Shape<T>, { min = 0, max }: { min?: number; max: number }): Shape<readonly T[]> {
  const schema = { type: 'array', items: item.schema, minItems: min, maxItems: max } as const;
  return shape(schema, (node, problems) => {
    if (node.kind !== 'list') return problems.add(node.at, 'a list is expected');
    if (node.items.length < min)
      return problems.add(node.at, `the list needs at least ${min} item${min === 1 ? '' : 's'}`);
    if (node.items.length > max)
      return problems.add(node.at, `the list has ${node.items.length} items, at most ${max} are allowed`);
    const values = node.items.map((entry) => item(entry, problems));
    return values.every((value) => value !== undefined) ? (values as T[]) : undefined;
  });
}

/** A list of scalars, none of them twice. */
export function set<T>(item: Shape<T>, bounds: { min?: number; max: number }): Shape<readonly T[]> {
  const inner = list(item, bounds);
  return shape({ ...inner.schema, uniqueItems: true }, (node, problems) => {
    const values = inner(node, problems);
    if (values === undefined || node.kind !== 'list') return undefined;
    const seen = new Set<unknown>();
    const again = node.items.find((item) => item.kind === 'scalar' && seen.size === seen.add(item.value).size);
    return again?.kind === 'scalar' ? problems.add(again.at, `${JSON.stringify(again.value)} is here twice`) : values;
  });
}

/** A map from names of the author's choice to values of one shape. */
export function dictionary<K, T>(key: Shape<K>, value: Shape<T>, max: number): Shape<ReadonlyMap<K, Located<T>>> {
  const schema = {
    type: 'object',
    propertyNames: key.schema,
    additionalProperties: value.schema,
    maxProperties: max,
  } as const;
  return shape(schema, (node, problems) => {
    if (node.kind !== 'map') return problems.add(node.at, 'a map is expected');
    if (node.entries.size > max)
      return problems.add(node.at, `the map has ${node.entries.size} entries, at most ${max} are allowed`);
    let isWhole = true;
    const result = new Map<K, Located<T>>();
    for (const [name, entry] of node.entries) {
      const readKey = key({ kind: 'scalar', at: entry.keyAt, value: name }, problems);
      const read = value(entry.value, problems);
      if (readKey === undefined || read === undefined) isWhole = false;
      else result.set(readKey, { value: read, at: entry.keyAt });
    }
    return isWhole ? result : undefined;
  });
}

/** A value of one of several shapes: the one that is for this kind of node; of several for scalars, the first that takes it. */
export function union<const S extends readonly Shape<unknown>[]>(
  what: string,
  ...shapes: S
): Shape<ShapeValue<S[number]>> {
  const schema = { anyOf: shapes.map((one) => one.schema) };
  return shape(schema, (node, problems) => {
    const candidates = shapes.filter((one) => nodeKindsOf(one.schema).includes(node.kind));
    const chosen =
      candidates.length === 1 ? candidates[0] : candidates.find((one) => one(node, new Problems('')) !== undefined);
    if (chosen === undefined) return problems.add(node.at, `${what} is expected`);
    return chosen(node, problems) as ShapeValue<S[number]> | undefined;
  });
}

function nodeKindsOf({ type, anyOf }: JsonSchema): readonly Node['kind'][] {
  if (anyOf !== undefined && type === undefined) return anyOf.flatMap(nodeKindsOf);
  if (type === 'object') return ['map'];
  return type === 'array' ? ['list'] : ['scalar'];
}

export function text({
  min = 1,
  max = 256,
  what = 'text',
}: {
  min?: number;
  max?: number;
  what?: string;
} = {}): Shape<string> {
  return shape({ type: 'string', minLength: min, maxLength: max }, (node, problems) => {
    if (node.kind !== 'scalar' || typeof node.value !== 'string') return problems.add(node.at, `${what} is expected`);
    if (node.value.length < min || node.value.length > max)
      return problems.add(node.at, `${what} of ${min} to ${max} characters is expected`);
    return node.value;
  });
}

export function matching(pattern: RegExp, what: string, max = 256): Shape<string> {
  const inner = text({ max, what });
  return shape({ ...inner.schema, pattern: pattern.source }, (node, problems) => {
    const value = inner(node, problems);
    if (value === undefined || pattern.test(value)) return value;
    return problems.add(node.at, `${JSON.stringify(value)} is no ${what}`);
  });
}

export function oneOf<const T extends string | number>(...values: readonly T[]): Shape<T> {
  return shape(values.length === 1 ? { const: values[0]! } : { enum: values }, (node, problems) => {
    const found = node.kind === 'scalar' ? values.find((value) => value === node.value) : undefined;
    if (found !== undefined) return found;
    const written = node.kind === 'scalar' ? String(node.value) : node.kind;
    return problems.add(
      node.at,
      `${values.join(' or ')} is expected, not ${JSON.stringify(written)}${suggestion(written, values.map(String))}`,
    );
  });
}

export const flag: Shape<boolean> = shape({ type: 'boolean' }, (node, problems) =>
  node.kind === 'scalar' && typeof node.value === 'boolean'
    ? node.value
    : problems.add(node.at, 'true or false is expected'),
);

export function integer(min: number, max: number): Shape<number> {
  return shape({ type: 'integer', minimum: min, maximum: max }, (node, problems) => {
    const value = node.kind === 'scalar' ? node.value : undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    return problems.add(node.at, `a whole number from ${min} to ${max} is expected`);
  });
}

/** With or without decimals. */
export function number(min: number, max: number): Shape<number> {
  return shape({ type: 'number', minimum: min, maximum: max }, (node, problems) => {
    const value = node.kind === 'scalar' ? node.value : undefined;
    if (typeof value === 'number' && value >= min && value <= max) return value;
    return problems.add(node.at, `a number from ${min} to ${max} is expected`);
  });
}

const scalarTextMax = 256;

/** Text (it may be empty), a number that is exact in JSON, or a truth value. */
export const scalar: Shape<string | number | boolean> = shape(
  {
    type: ['string', 'number', 'boolean'],
    maxLength: scalarTextMax,
    minimum: Number.MIN_SAFE_INTEGER,
    maximum: Number.MAX_SAFE_INTEGER,
  },
  (node, problems) => {
    const value = node.kind === 'scalar' ? node.value : null;
    if (typeof value === 'boolean') return value;
    if (typeof value === 'string' && value.length <= scalarTextMax) return value;
    if (typeof value === 'number' && Math.abs(value) <= Number.MAX_SAFE_INTEGER) return value;
    return problems.add(
      node.at,
      `text of at most ${scalarTextMax} characters, a number below 2^53, true or false is expected`,
    );
  },
);

/** What must hold beside the shape; `check` says what does not. */
export function checked<T>(inner: Shape<T>, check: (value: T) => string | undefined): Shape<T> {
  return shape(inner.schema, (node, problems) => {
    const value = inner(node, problems);
    const problem = value === undefined ? undefined : check(value);
    return problem === undefined ? value : problems.add(node.at, problem);
  });
}

/** Text that `parse` turns into a value; its CellmeshError becomes a problem at this place. `schema`: what can be said of the text. */
export function parsed<T>(parse: (text: string) => T, what: string, schema: JsonSchema = {}): Shape<T> {
  const max = schema.maxLength ?? 2048;
  const inner = text({ max, what });
  return shape({ ...inner.schema, ...schema }, (node, problems) => {
    const value = inner(node, problems);
    if (value === undefined) return undefined;
    try {
      return parse(value);
    } catch (error) {
      if (isCellmeshError(error)) return problems.add(node.at, error.message);
      throw error;
    }
  });
}

const momentPattern = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?Z$/;

/** A moment in UTC (RFC 3339 5.6, in capitals, without leap seconds) as milliseconds since the epoch. */
export const moment: Shape<number> = shape(
  { type: 'string', pattern: momentPattern.source, maxLength: 30 },
  (node, problems) => {
    const written = node.kind === 'scalar' ? String(node.value) : node.kind;
    const ms = momentPattern.test(written) ? Date.parse(written) : Number.NaN;
    // `Date` takes the 30th of February for the 2nd of March.
    if (!Number.isNaN(ms) && new Date(ms).toISOString().slice(0, 19) === written.slice(0, 19)) return ms;
    return problems.add(
      node.at,
      `${JSON.stringify(written.slice(0, 64))} is no moment in UTC; write 2027-01-31T12:00:00Z`,
    );
  },
);

/** A value that the standard knows and this version does not do yet. */
export function notYet<T extends string | number>(
  inner: Shape<T>,
  isSupported: (value: T) => boolean,
  feature: string,
): Shape<T> {
  const supported = inner.schema.enum?.filter((value) => isSupported(value as T));
  return shape({ ...inner.schema, ...(supported && { enum: supported }) }, (node, problems) => {
    const value = inner(node, problems);
    if (value === undefined || isSupported(value)) return value;
    return problems.add(node.at, `${feature} is not yet supported`);
  });
}
