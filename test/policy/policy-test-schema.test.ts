import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parse } from 'yaml';
import { CellAtHand } from '#policy/cases/cell-at-hand.ts';
import { policyTestSchema } from '#policy/cases/policy-test-schema.ts';
import { readCases } from '#policy/cases/read-cases.ts';
import { runCases } from '#policy/cases/run-cases.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { readYamlFiles } from '#runtime/yaml-files.ts';
import { fieldsOf } from '../support/schema-fields.ts';

const root = join(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const isValid = new Ajv2020({ allowUnionTypes: true }).compile(policyTestSchema());

function isTaken(text: string): boolean {
  try {
    readCases(new Map([['a.test.yaml', text]]));
    return true;
  } catch (error) {
    assert.ok(isCellmeshError(error, 'document_invalid'));
    return false;
  }
}

const document = `apiVersion: cellmesh.io/v1alpha1
kind: PolicyTest
metadata: { name: t }
spec:
  cases:
    - name: one
      request:
        from: n/a
        to: n/b
        port: 80
        method: GET
        path: /x
        token: { scopes: [a:b], left: [a:b], account: AC00000000000000000000000000000001, sub: s, act: { sub: bot }, client_id: spiffe://x/router/a/b, claims: { plan: [1, null, { a: true }] } }
        expectAccount: AC00000000000000000000000000000001
        time: 2027-01-01T00:00:00Z
      expect: { deny: scope_missing, by: callee, rule: r, condition: scopes }
    - name: two
      request: { from: router, host: a.example, to: n/b, grpc: a.B/C, as: self }
      expect: { allow: r, left: [] }
`;

describe('docs/policy-test.schema.json', () => {
  test('is what the reader says; `npm run fix:schema` writes it', () => {
    assert.deepEqual(JSON.parse(read('docs/policy-test.schema.json')), policyTestSchema());
  });

  test('says of every field what it is', () => {
    const silent = [...fieldsOf(policyTestSchema())].filter(
      ([, { description }]) => !/^\S.*\.$/.test(description ?? ''),
    );
    assert.deepEqual(silent, []);
  });

  test('takes the tests of the examples, which name it', () => {
    const files = globSync('examples/*/policy/*.test.yaml', { cwd: root });
    assert.ok(files.length > 0);
    for (const file of files) {
      assert.ok(isValid(parse(read(file))), `${file}: ${JSON.stringify(isValid.errors)}`);
      assert.ok(read(file).startsWith('# yaml-language-server: $schema=../../../docs/policy-test.schema.json\n'));
    }
  });
});

test('docs/policy-tests.md has an example that holds for the sample application', async () => {
  const [, example = ''] = /^```yaml\n([\s\S]*?)^```$/m.exec(read('docs/policy-tests.md')) ?? [];
  assert.ok(isValid(parse(example)), JSON.stringify(isValid.errors));
  const cases = readCases(new Map([['example.test.yaml', example]]));
  const policies = CellAtHand.read(await readYamlFiles(join(root, 'examples/messaging/policy')));
  const results = runCases(policies, cases, 0);
  assert.deepEqual([results.length, results.filter(({ isPassed }) => !isPassed)], [2, []]);
});

test('docs/policy-tests.md has a row for every field', () => {
  const page = read('docs/policy-tests.md');
  const rows = [...page.matchAll(/^\| (`[^|]*`) \|/gm)].flatMap(([, names]) =>
    [...names!.matchAll(/`(\w+)`/g)].map(([, name]) => name!),
  );
  const elsewhere = ['apiVersion', 'kind', 'metadata', 'name', 'spec', 'cases', 'request', 'expect', 'hops', 'token'];
  const fields = [...fieldsOf(policyTestSchema())].map(([name]) => name);
  assert.deepEqual([...new Set([...rows, ...elsewhere])].sort(), [...new Set(fields)].sort());
});

describe('the schema and the reader', () => {
  test('take the same documents', () => {
    assert.equal(isTaken(document), true);
    assert.ok(isValid(parse(document)), JSON.stringify(isValid.errors));
  });

  for (const [from, to] of [
    ['PolicyTest', 'PolicyTests'],
    ['{ name: t }', '{ name: T }'],
    ['    - name: one\n', '    - nam: one\n'],
    ['from: n/a', 'from: any'],
    ['to: n/b', 'to: router'],
    ['port: 80', 'port: "80"'],
    ['method: GET', 'method: get'],
    ['path: /x', 'path: ""'],
    ['scopes: [a:b], ', ''],
    ['scopes: [a:b]', 'scopes: a:b'],
    ['act: { sub: bot }', 'act: bot'],
    ['account: AC0', 'account: AD0'],
    ['claims: { plan', 'claims: [{ plan'],
    ['client_id: spiffe:', 'client_id: https:'],
    ['time: 2027-01-01', 'time: 2027-13-01'],
    ['deny: scope_missing', 'deny: limit_reached'],
    ['by: callee', 'by: nobody'],
    ['condition: scopes', 'condition: scope'],
    ['grpc: a.B/C', 'grpc: a.B/*'],
    ['as: self', 'as: other'],
    ['host: a.example', 'host: A.example'],
  ] as const) {
    test(`refuse \`${to.trim()}\` in place of \`${from.trim()}\``, () => {
      const text = document
        .replace(from, to)
        .replace('{ a: true }] } }', to.includes('[{') ? '{ a: true }] }] }' : '{ a: true }] } }');
      assert.notEqual(text, document);
      assert.equal(isTaken(text), false);
      assert.equal(isValid(parse(text)), false);
    });
  }
});
