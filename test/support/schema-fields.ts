import type { JsonSchema } from '#policy/json-schema.ts';

/** Every field of a document, at any depth. */
export function* fieldsOf({
  properties = {},
  items,
  anyOf = [],
  oneOf = [],
}: JsonSchema): Generator<[string, JsonSchema]> {
  for (const [name, field] of Object.entries(properties)) {
    yield [name, field];
    yield* fieldsOf(field);
  }
  for (const inner of [...(items === undefined ? [] : [items]), ...anyOf, ...oneOf]) yield* fieldsOf(inner);
}
