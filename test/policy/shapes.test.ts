import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parse } from 'yaml';
import { list, moment, number, object, oneOf, required, type Shape, scalar, set, text, union } from '#policy/shapes.ts';
import { Problems, readYaml } from '#runtime/yaml-document.ts';

const actor = union(
  'none, required or a list of subjects',
  oneOf('none', 'required'),
  list(text(), { min: 1, max: 2 }),
);
const either = union('a number or a map', number(0, 1), object({ a: required(text(), 'A text.') }));
const once = set(text(), { min: 1, max: 3 });
const words = union('a or 1 to 9', oneOf('a'), number(1, 9));

describe('a shape', () => {
  for (const [shape, written, value, isRefusedByReaderOnly] of [
    [number(0, 100), '1.5', 1.5],
    [number(0, 100), '100', 100],
    [number(0, 100), '100.1', 'a number from 0 to 100 is expected'],
    [number(0, 100), '"1"', 'a number from 0 to 100 is expected'],
    [scalar, '""', ''],
    [scalar, '-0.5', -0.5],
    [scalar, 'false', false],
    [scalar, '9007199254740993', /a number below 2\^53/],
    [scalar, '[1]', /is expected/],
    [scalar, 'null', /is expected/],
    [scalar, 'a'.repeat(257), /at most 256 characters/],
    [moment, '1970-01-01T00:00:01Z', 1_000],
    [moment, '1970-01-01T00:00:00.0015Z', 1],
    [moment, '2024-02-29T23:59:59Z', Date.UTC(2024, 1, 29, 23, 59, 59)],
    [moment, '2026-02-29T00:00:00Z', /no moment in UTC/, true],
    [moment, '2026-04-31T00:00:00Z', /no moment in UTC/, true],
    [moment, '2026-13-01T00:00:00Z', /no moment in UTC/],
    [moment, '2026-01-01T24:00:00Z', /no moment in UTC/],
    [moment, '2026-01-01T23:59:60Z', /no moment in UTC/],
    [moment, '2026-01-01T00:00:00+01:00', /no moment in UTC/],
    [moment, '2026-01-01T00:00:00', /no moment in UTC/],
    [moment, '2026-01-01t00:00:00z', /no moment in UTC/],
    [moment, '2026-01-01', /no moment in UTC/],
    [actor, 'none', 'none'],
    [actor, '[a, b]', ['a', 'b']],
    [actor, '[]', 'the list needs at least 1 item'],
    [actor, 'non', 'none or required is expected, not "non"; did you mean `none`?'],
    [actor, '{}', 'none, required or a list of subjects is expected'],
    [either, '0.5', 0.5],
    [either, '{ a: b }', { a: 'b' }],
    [either, '{ b: b }', /unknown key `b`[\s\S]*`a` is missing/],
    [once, '[a, b]', ['a', 'b']],
    [once, '[a, b, a]', '"a" is here twice'],
    [once, '[]', 'the list needs at least 1 item'],
    [words, 'a', 'a'],
    [words, '9', 9],
    [words, 'b', 'a or 1 to 9 is expected'],
  ] as readonly [Shape<unknown>, string, unknown, boolean?][]) {
    test(`reads \`${written.slice(0, 30)}\` as ${JSON.stringify(shape.schema).slice(0, 60)}, and its schema agrees`, () => {
      const problems = new Problems('one.yaml');
      const [node = { kind: 'scalar', at: { line: 1, column: 1 }, value: null } as const] = readYaml(
        written,
        'one.yaml',
      );
      const read = shape(node, problems);
      const said = problems.all.map(({ message }) => message).join('\n');
      if (read === undefined && value instanceof RegExp) assert.match(said, value);
      else assert.deepEqual(read ?? said, value);
      const isValid = new Ajv2020({ allowUnionTypes: true }).validate(shape.schema, parse(written));
      assert.equal(isValid, read !== undefined || isRefusedByReaderOnly === true);
    });
  }
});
