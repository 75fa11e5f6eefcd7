import type { JsonSchema } from '#policy/json-schema.ts';

/** The part of `JSONSchemaProps` (apiextensions.k8s.io/v1) that is spoken here. */
export interface StructuralSchema {
  readonly description?: string;
  readonly type?: 'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean';
  readonly format?: 'date-time' | 'int64';
  readonly enum?: readonly (string | number | boolean)[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: StructuralSchema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, StructuralSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: StructuralSchema;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly anyOf?: readonly StructuralSchema[];
  readonly oneOf?: readonly StructuralSchema[];
  readonly not?: StructuralSchema;
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-int-or-string'?: true;
  readonly 'x-kubernetes-preserve-unknown-fields'?: true;
  readonly 'x-kubernetes-validations'?: readonly Validation[];
}

/** A condition in CEL; `message` is what its author reads, `fieldPath` where the mistake lies below `self`. */
export interface Validation {
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
}

/** What a shape cannot say, by the place of the field: `spec.allow[].claims[]`. */
export type Additions = Readonly<Record<string, StructuralSchema>>;

/**
 * The structural schema of what a shape says. It takes all that the shape takes; what it takes beside that is listed in `custom-resources.ts`.
 * @throws Error when an addition is about a field that is not there
 */
export function structuralSchema(schema: JsonSchema, additions: Additions): StructuralSchema {
  const left = new Set(Object.keys(additions));
  const result = convert(schema, '', (at) => {
    left.delete(at);
    return additions[at] ?? {};
  });
  if (left.size > 0) throw new Error(`no field ${[...left].join(', ')}`);
  return result;
}

type AdditionAt = (at: string) => StructuralSchema;

function convert(schema: JsonSchema, at: string, additionAt: AdditionAt): StructuralSchema {
  const { description } = schema;
  return {
    ...(description === undefined ? {} : { description }),
    ...typedSchema(schema, at, additionAt),
    ...additionAt(at),
  };
}

function typedSchema(schema: JsonSchema, at: string, additionAt: AdditionAt): StructuralSchema {
  const { type, anyOf } = schema;
  const values = schema.const === undefined ? schema.enum : [schema.const];
  if (Array.isArray(type))
    return untyped(
      type.map((one: 'string') => ({ ...schema, type: one })),
      at,
      additionAt,
    );
  if (anyOf !== undefined && type === undefined) return untyped(anyOf, at, additionAt);
  if (values !== undefined) return enumOf(values);
  if (type === 'object') return objectOf(schema, at, additionAt);
  if (type === 'array') return listOf(schema, at, additionAt);
  const { minLength, maxLength, minimum, maximum } = schema;
  const pattern = anyOf === undefined ? schema.pattern : anyOf.map(patternOf).join('|');
  return defined({ type: type as 'string', pattern, minLength, maxLength, minimum, maximum });
}

function objectOf(schema: JsonSchema, at: string, additionAt: AdditionAt): StructuralSchema {
  const { properties = {}, required = [], additionalProperties: values, maxProperties } = schema;
  if (typeof values === 'object')
    return defined({ type: 'object', maxProperties, additionalProperties: convert(values, `${at}{}`, additionAt) });
  const fields = Object.entries(properties).map(
    ([name, field]) => [name, convert(field, at === '' ? name : `${at}.${name}`, additionAt)] as const,
  );
  return { type: 'object', properties: Object.fromEntries(fields), ...(required.length > 0 && { required }) };
}

function listOf({ items, minItems, maxItems, uniqueItems }: JsonSchema, at: string, additionAt: AdditionAt) {
  return defined({
    type: 'array',
    ...(minItems !== 0 && { minItems }),
    maxItems,
    'x-kubernetes-list-type': uniqueItems ? 'set' : 'atomic',
    items: convert(items!, `${at}[]`, additionAt),
  });
}

function enumOf(values: readonly (string | number)[]): StructuralSchema {
  if (values.every((value) => typeof value === 'string')) return { type: 'string', enum: values };
  return { 'x-kubernetes-int-or-string': true, enum: values };
}

/** A schema of text that is one of several as one pattern: its message says what is expected, that of `anyOf` says nothing. */
function patternOf({ enum: words, pattern }: JsonSchema): string {
  return pattern ?? `^(${words!.join('|')})$`;
}

/** Bounds that no list, map and number keeps. Bounds of one kind mean nothing to values of another. */
const noList = { minItems: 1, maxItems: 0 };
const noMap = { minProperties: 1, maxProperties: 0 };
const noNumber = { minimum: 1, maximum: 0 };

/** A value of one of several JSON types: structural schemas have no union, so that every other type is refused by itself. */
function untyped(kinds: readonly JsonSchema[], at: string, additionAt: AdditionAt): StructuralSchema {
  const words = kinds.find(({ enum: values }) => values !== undefined);
  const text = kinds.find(({ type }) => type === 'string');
  const number = kinds.find(({ type }) => type === 'number');
  const list = kinds.find(({ type }) => type === 'array');
  const isFlag = kinds.some(({ type }) => type === 'boolean');
  if ((words ?? text) === undefined) throw new Error(`${at}: text is expected among the types`);
  return defined({
    'x-kubernetes-preserve-unknown-fields': true,
    ...(words === undefined ? { maxLength: text?.maxLength } : { pattern: patternOf(words) }),
    ...(number === undefined ? noNumber : { minimum: number.minimum, maximum: number.maximum }),
    ...(list === undefined ? noList : withoutType(listOf(list, at, additionAt))),
    ...noMap,
    ...(isFlag ? {} : { not: { enum: [true, false] } }),
  });
}

function withoutType({ minItems, maxItems, items }: StructuralSchema): StructuralSchema {
  return defined({ minItems, maxItems, items });
}

function defined(
  fields: { readonly [K in keyof StructuralSchema]: StructuralSchema[K] | undefined },
): StructuralSchema {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
