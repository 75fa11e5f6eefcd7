import fc from 'fast-check';
import type { JsonSchema } from '#policy/json-schema.ts';

/** So few ports that rules and ports meet. */
const ports = [80, 81, 82];

/** What a schema takes, and now and then a little more: text that is too long, and numbers of few decimals. */
export function documentOf(schema: JsonSchema, name = ''): fc.Arbitrary<unknown> {
  const { type, anyOf } = schema;
  if (name === 'port') return fc.constantFrom(...ports);
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (name === 'trustBundle') return fc.constant('{"keys":[]}');
  if (name === 'inbound') return fc.oneof({ weight: 20, arbitrary: fc.constantFrom(...inbounds) }, mapOf(schema));
  if (schema.enum !== undefined) return oneOf(schema.enum);
  if (anyOf !== undefined) return fc.oneof(...anyOf.map((one) => documentOf(one)));
  if (Array.isArray(type)) return fc.oneof(...type.map((one: 'string') => documentOf({ ...schema, type: one })));
  if (type === 'boolean') return fc.boolean();
  if (type === 'array') return listOf(schema);
  if (type === 'object') return mapOf(schema);
  if (schema.pattern !== undefined) return fc.stringMatching(new RegExp(schema.pattern));
  if (schema.maxLength !== undefined) return fc.string({ minLength: schema.minLength ?? 0, maxLength: 8 });
  const { minimum: min = 0, maximum: max = 0 } = schema;
  const whole = fc.integer({ min: Math.ceil(min), max: Math.min(max, 2 ** 31 - 1) });
  return type === 'integer' ? whole : fc.oneof(whole, fc.constantFrom(min, max, 0.5));
}

const inbounds = [{ mode: 'strict' }, { mode: 'observe-plaintext', until: '2027-01-31T12:00:00Z' }];

/** `unmeshed` seldom goes with what else a rule says. */
function oneOf(words: readonly unknown[]): fc.Arbitrary<unknown> {
  return fc.oneof(...words.map((word) => ({ weight: word === 'unmeshed' ? 1 : 60, arbitrary: fc.constant(word) })));
}

function listOf({ items, minItems = 0, uniqueItems = false }: JsonSchema): fc.Arbitrary<unknown> {
  const item = documentOf(items!);
  const bounds = { minLength: minItems, maxLength: minItems + 2 };
  return uniqueItems ? fc.uniqueArray(item, bounds) : fc.array(item, bounds);
}

function mapOf({ properties = {}, required = [], propertyNames, additionalProperties: values }: JsonSchema) {
  if (typeof values === 'object')
    return fc.dictionary(documentOf(propertyNames!) as fc.Arbitrary<string>, documentOf(values), { maxKeys: 3 });
  const fields = Object.entries(properties).map(([name, field]) => [name, documentOf(field, name)] as const);
  return fc.record(Object.fromEntries(fields), { requiredKeys: [...required], noNullPrototype: true });
}

const oddValues = [null, '', 'x', 'X', 0, -1, 1.5, 70_000, true, [], ['x'], {}, { x: 1 }, 'a'.repeat(300)];

/** The same with something else at one place of its spec, a field less, a field more, or an item twice. */
export function changed(document: unknown): fc.Arbitrary<unknown> {
  const places = [...placesOf((document as { spec: unknown }).spec, ['spec'])];
  return fc
    .record({
      at: fc.constantFrom(...places),
      how: fc.constantFrom('replace', 'remove', 'add', 'repeat'),
      odd: fc.constantFrom(...oddValues),
    })
    .map(({ at, how, odd }) => {
      const copy = structuredClone(document);
      const last = at.at(-1)!;
      const holder = at.slice(0, -1).reduce((value, key) => (value as Record<string, unknown>)[key], copy) as Record<
        string,
        unknown
      >;
      const there = holder[last];
      if (how === 'remove' && !Array.isArray(holder)) delete holder[last];
      else if (how === 'add' && !Array.isArray(holder)) holder['unknown'] = odd ?? 0;
      else if (how === 'repeat' && Array.isArray(there)) there.push(...there);
      else holder[last] = odd;
      return copy;
    });
}

function* placesOf(value: unknown, at: readonly string[]): Generator<readonly string[]> {
  yield at;
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value)) yield* placesOf(inner, [...at, key]);
}
