import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { parse, parseAllDocuments } from 'yaml';
import { manifestSchema } from '#policy/manifest-schema.ts';
import { parsePathPattern } from '#policy/path-pattern.ts';
import { readDocuments } from '#policy/read-documents.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { fieldsOf } from '../support/schema-fields.ts';

const root = join(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const isValid = new Ajv2020({ allowUnionTypes: true }).compile(manifestSchema());

function refusalOf(text: string): string {
  try {
    readDocuments(text, 'one.yaml');
    return '';
  } catch (error) {
    assert.ok(isCellmeshError(error, 'document_invalid'));
    return error.problems.join('\n');
  }
}

const documentsOf = (text: string): unknown[] => parseAllDocuments(text).map((document) => document.toJS());

describe('docs/manifest.schema.json', () => {
  test('is what the readers say; `npm run fix:schema` writes it', () => {
    assert.deepEqual(JSON.parse(read('docs/manifest.schema.json')), manifestSchema());
  });

  test('says of every field what it is', () => {
    const silent = [...fieldsOf(manifestSchema())].filter(([, { description }]) => !/^\S.*\.$/.test(description ?? ''));
    assert.deepEqual(silent, []);
  });

  test('takes the manifests of the examples', () => {
    const files = globSync('examples/*/policy/*.yaml', { cwd: root }).filter((file) => !file.endsWith('.test.yaml'));
    assert.ok(files.length > 0);
    for (const file of files)
      for (const document of documentsOf(read(file))) assert.ok(isValid(document), `${file}: ${whyNot()}`);
  });

  const blocks = [...read('docs/manifest.md').matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)];

  test('takes what docs/manifest.md shows, and refuses of it what is wrong by itself', () => {
    const shown = blocks.flatMap(([, kind, text]) => (kind === 'yaml' ? documentsOf(text!) : []));
    assert.ok(shown.length > 0);
    for (const document of shown) assert.ok(isValid(document), whyNot());
    const wrong = blocks.flatMap(([, kind, text]) => (kind === 'yaml error' ? [documentsOf(text!)] : []));
    // The last two are right one by one.
    assert.deepEqual(
      wrong.map((documents) => documents.every((document) => isValid(document))),
      [false, false, false, true, true],
    );
  });
});

const cell = `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.example
  domain: example
  tokenIssuer: https://identity.example
  scopes: { a:read: Read a. }
`;
const policy = `apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: one, namespace: n }
spec:
  serviceAccount: one
  mode: enforce
  hosts: [one.n]
  ports: [{ port: 80, protocol: http }]
  expose: [{ hosts: [api.example], paths: ["/v1/**"], auth: required }]
  allow:
    - { name: r, from: [n/two], port: 80, http: { methods: [GET], paths: ["/a/*"] }, scopes: [a:read], account: none, sensitive: true }
  calls:
    - to: n/two
      listen: 127.0.0.1:9000
      carry: []
      own: [a:read]
      token: none
      timeouts: { connect: 1s, head: 2s, idle: 3s, total: 4m }
      retries: { attempts: 2, retryOn: [reset, 503] }
      routes: [{ port: 80, http: { methods: [GET] }, timeouts: { head: 5s }, retries: { attempts: 3, retryOn: [502] } }]
`;

describe('the schema and the reader', () => {
  test('take the same documents', () => {
    for (const text of [cell, policy]) {
      assert.equal(refusalOf(text), '');
      assert.ok(isValid(parse(text)), whyNot());
    }
  });

  for (const [from, to] of [
    ['kind: ServicePolicy', 'kind: Service'],
    ['v1alpha1', 'v1'],
    ['  mode: enforce\n', ''],
    ['mode: enforce', 'mode: enforced'],
    ['mode: enforce', 'mode: true'],
    ['  hosts', '  host'],
    ['{ name: one,', '{ name: One,'],
    ['{ name: one,', '{ name: 1,'],
    ['{ name: one,', `{ name: ${'a'.repeat(64)},`],
    ['[one.n]', '[]'],
    ['[one.n]', 'one.n'],
    ['[one.n]', '[one_n]'],
    ['[one.n]', `[${'a.'.repeat(127)}a]`],
    ['[one.n]', '{ a: b }'],
    ['[{ port: 80, protocol: http }]', '[]'],
    [
      '[{ port: 80, protocol: http }]',
      `[${Array.from({ length: 65 }, (_, n) => `{ port: ${n + 1}, protocol: http }`)}]`,
    ],
    ['port: 80, protocol', 'port: 65536, protocol'],
    ['port: 80, protocol', 'port: 80.5, protocol'],
    ['port: 80, protocol', 'port: "80", protocol'],
    ['protocol: http', 'protocol: udp'],
    ['  expose', '  receive: token\n  expose'],
    ['"/v1/**"', 'v1'],
    ['"/v1/**"', '/v1;a'],
    ['"/v1/**"', '"/**/v1"'],
    ['"/v1/**"', '/v1/../a'],
    ['"/v1/**"', '/a//b'],
    ['"/v1/**"', '/%c3'],
    ['"/v1/**"', '/a/.'],
    ['"/v1/**"', '/../a'],
    ['"/v1/**"', `/${'a'.repeat(2048)}`],
    ['from: [n/two]', 'from: [two]'],
    ['from: [n/two]', 'from: [n/two/three]'],
    ['from: [n/two]', 'from: [spiffe://A/b]'],
    ['from: [n/two]', 'from: []'],
    ['GET], paths', 'get], paths'],
    ['scopes: [a:read]', 'scopes: [read]'],
    ['scopes: [a:read]', 'scopes: [a:read, a:read]'],
    ['from: [n/two]', 'from: [n/two, router, n/two]'],
    ['scopes: [a:read]', `scopes: ["a:${'a'.repeat(63)}"]`],
    ['scopes: [a:read]', 'scopes:'],
    ['sensitive: true', 'sensitive: "yes"'],
    ['to: n/two', 'to: https://example.com'],
    ['127.0.0.1:9000', '0.0.0.0:9000'],
    ['token: none', 'token: exchange'],
    ['connect: 1s', 'connect: 1'],
    ['connect: 1s', 'connect: 1d'],
    ['connect: 1s', 'soon: 1s'],
    ['attempts: 2', 'attempts: 6'],
    ['[reset, 503]', '[reset, 500]'],
    ['[reset, 503]', '["503"]'],
    ['name: cell-1', 'name: Cell-1'],
    ['domain: example', 'domain: Example'],
    ['domain: example', `domain: ${'a'.repeat(256)}`],
    ['https://identity.example', '""'],
    ['{ a:read: Read a. }', '[a:read]'],
    ['{ a:read: Read a. }', '{ read: Read a. }'],
    ['{ a:read: Read a. }', `{ a:read: ${'a'.repeat(513)} }`],
    ['{ a:read: Read a. }', `{ ${Array.from({ length: 2001 }, (_, n) => `"a:a${n}": A.`)} }`],
  ] as const) {
    test(`refuse \`${to.slice(0, 60)}\` in place of \`${from.trim()}\``, () => {
      const text = (policy.includes(from) ? policy : cell).replace(from, () => to);
      assert.ok(text.includes(to) && text !== policy && text !== cell);
      assert.notEqual(refusalOf(text), '');
      assert.equal(isValid(parse(text)), false);
    });
  }

  test('agree about words that are nearly right: what the reader takes, the schema takes', () => {
    const words = [
      ['to: n/two', fc.stringMatching(/^[a-z-]{1,3}\/[a-z0-9-]{1,3}$/), 'to: '],
      ['127.0.0.1:9000', fc.stringMatching(/^(127\.0\.0\.1|\[::1\]):\d{1,6}$/), ''],
      ['connect: 1s', fc.stringMatching(/^\d{1,3}(ms|s|m|h|d)?$/), 'connect: '],
      ['from: [n/two]', fc.stringMatching(/^spiffe:\/\/[a-z.]{1,3}(\/[a-zA-Z._]{0,3}){0,2}$/), 'from: '],
      ['scopes: [a:read]', fc.stringMatching(/^[a-z_-]{1,2}:[a-z0-9_]{1,2}$/), 'scopes: '],
    ] as const;
    for (const [from, word, key] of words) {
      let taken = 0;
      fc.assert(
        fc.property(word, (written) => {
          const value = from.endsWith(']') ? `[${JSON.stringify(written)}]` : JSON.stringify(written);
          const text = policy.replace(from, () => key + value);
          if (refusalOf(text) !== '') return;
          taken++;
          assert.ok(isValid(parse(text)), `${text}: ${whyNot()}`);
        }),
      );
      assert.ok(taken > 0, from);
    }
  });

  test('agree about path patterns in canonical form', () => {
    const { pattern } = [...fieldsOf(manifestSchema())].find(([name]) => name === 'paths')![1].items!;
    const inSchema = new RegExp(pattern!, 'u');
    const takes = (text: string) => {
      try {
        return parsePathPattern(text).text === text;
      } catch {
        return false;
      }
    };
    let both = 0;
    fc.assert(
      fc.property(fc.stringMatching(/^\/?(([a;~!]|\*|\*\*|\.|\.\.|%2[05F])?\/){0,4}([a*.]|\*\*)?$/), (text) => {
        // Of percent-encoding the reader knows more.
        if (!text.includes('%')) assert.equal(inSchema.test(text) && text !== '', takes(text), text);
        if (takes(text)) assert.ok(inSchema.test(text), text);
        if (takes(text)) both++;
      }),
      { numRuns: 1_000 },
    );
    assert.ok(both > 0);
  });
});

function whyNot(): string {
  return JSON.stringify(isValid.errors);
}
