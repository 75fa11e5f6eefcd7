import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collectManifests, readManifests } from '#policy/read-manifests.ts';

const cell = `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec: { trustDomain: cell-1.example, domain: example, tokenIssuer: https://identity.example, scopes: {} }
`;
const policy = (name: string, more = '') => `apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: ${name}, namespace: n }
spec: { serviceAccount: ${name}, mode: enforce, ports: [{ port: 80, protocol: http }]${more} }
`;

test('manifests are read whole: one cell and its policies, by file', () => {
  const read = readManifests(
    new Map([
      ['a.yaml', policy('a')],
      ['b.yaml', `${cell}---\n${policy('b')}`],
    ]),
  );
  assert.equal(read.cell.id, 'cell-1');
  assert.deepEqual(
    read.policies.map(({ file, name }) => [file, name]),
    [
      ['a.yaml', 'a'],
      ['b.yaml', 'b'],
    ],
  );
});

test('what is wrong is told of all files at once, with its place; what is right is read all the same', () => {
  const texts = new Map([
    ['a.yaml', policy('a', ', alow: []')],
    ['b.yaml', policy('b')],
    ['c.yaml', 'a: ['],
    ['d.yaml', cell],
    ['e.yaml', `---\n${cell}`],
  ]);
  const { cells, policies, problems } = collectManifests(texts);
  assert.deepEqual([cells.length, policies.map(({ name }) => name)], [2, ['b']]);
  assert.deepEqual(problems[0], {
    file: 'a.yaml',
    line: 4,
    column: 82,
    message: 'unknown key `alow`; did you mean `allow`?',
  });
  assert.deepEqual(
    problems.map(({ file }) => file),
    ['a.yaml', 'c.yaml', 'e.yaml'],
  );
  assert.throws(() => readManifests(texts), {
    code: 'document_invalid',
    problems: problems.map(({ file, line, column, message }) => `${file}:${line}:${column}: ${message}`),
  });
  assert.equal(problems[2]!.message, 'a second Cell document; the first is in d.yaml');
});

test('cases among manifests are told where they belong', () => {
  const { problems } = collectManifests(new Map([['a.yaml', 'kind: PolicyTest\n']]));
  assert.deepEqual(
    problems.map(({ message }) => message),
    ['a PolicyTest belongs into a file named *.test.yaml'],
  );
});
