import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { serializeTrustBundle } from '#certs/trust-bundle.ts';
import { CellAtHand } from '#policy/cases/cell-at-hand.ts';
import { readCases } from '#policy/cases/read-cases.ts';
import { runCases } from '#policy/cases/run-cases.ts';
import { compileCell } from '#policy/compile.ts';
import { ruleChanges } from '#policy/diff/rule-changes.ts';
import { graphOf } from '#policy/graph/graph.ts';
import { readDocuments } from '#policy/read-documents.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { testAuthority } from '../support/test-authority.ts';

const partner = await testAuthority(systemClock, 'partner.test');
const bundle = serializeTrustBundle([...partner.bundles.values()][0]!);
const entry = (trustDomain: string, trustBundle = bundle) =>
  `{ trustDomain: ${trustDomain}, trustBundle: '${trustBundle}' }`;

const textOf = ({ federation = '', from = 'shop/two' }) => `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.example
  domain: example
  tokenIssuer: https://identity.example
  scopes: { a:read: Read a. }
${federation === '' ? '' : `  federation: [${federation}]\n`}---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: one, namespace: shop }
spec:
  serviceAccount: one
  mode: enforce
  ports: [{ port: 80, protocol: http }]
  allow: [{ name: r, from: ["${from}"], account: none }]
`;

function compiled(given: Parameters<typeof textOf>[0]) {
  const { cells, policies } = readDocuments(textOf(given), 'cell.yaml');
  return compileCell(cells[0]!, policies);
}

const isSaid = (said: RegExp) => (error: unknown) =>
  isCellmeshError(error, 'document_invalid') && said.test(error.problems.join());

describe('federation', () => {
  test('is with trust domains of others, by their bundles', () => {
    const [other] = compiled({ federation: entry('partner.test') }).federation;
    assert.equal(other?.trustDomain, parseTrustDomain('partner.test'));
    assert.equal(other?.roots.length, 1);
    assert.deepEqual(compiled({}).federation, []);
  });

  test('makes another version of the policy, and none where there is none', () => {
    const versions = ['', entry('partner.test'), entry('partner.test', '{"keys":[]}')].map(
      (federation) => compiled({ federation }).version,
    );
    assert.equal(new Set(versions).size, 3);
  });

  for (const [federation, said] of [
    [entry('cell-1.example'), /cell-1\.example is of the platform itself/],
    [entry('example'), /example is of the platform itself/],
    [entry('cell-2.example'), /a cell trusts no other cell/],
    [`${entry('partner.test')}, ${entry('partner.test')}`, /a second entry is for partner\.test/],
    [entry('partner.test', '{}'), /partner\.test: the trust bundle is refused: keys is not a list/],
    [entry('other.test'), /other\.test: the trust bundle is refused: keys\[0\]/],
  ] as const)
    test(`is refused: ${said}`, () => {
      assert.throws(() => compiled({ federation }), isSaid(said));
    });

  test('is what a rule needs to name a workload of others; of other cells it names none', () => {
    const id = 'spiffe://partner.test/ns/shop/sa/two';
    const { snapshots } = compiled({ federation: entry('partner.test'), from: id });
    assert.deepEqual([...snapshots.values()][0]?.rules[0]?.ids, [id]);
    for (const from of ['spiffe://cell-2.example/ns/shop/sa/two', 'spiffe://example/router/a/b'])
      assert.throws(() => compiled({ federation: entry('partner.test'), from }), isSaid(/a cell trusts no other cell/));
    for (const from of ['spiffe://partner.test/**', 'spiffe://partner.test/ns/*/sa/two'])
      assert.throws(() => compiled({ federation: entry('partner.test'), from }), isSaid(/named one by one/));
  });

  test('shows workloads of others by their whole IDs: the same names are other workloads', () => {
    const given = { federation: entry('partner.test'), from: 'spiffe://partner.test/ns/shop/sa/two' };
    const { cells, policies } = readDocuments(textOf(given), 'cell.yaml');
    assert.deepEqual(
      graphOf(cells[0]!, policies).edges.map(({ from }) => from),
      [given.from],
    );
    const [before, after] = [{}, given].map((one) => [...compiled(one).snapshots.values()][0]!);
    const [change] = ruleChanges(before!, after!);
    assert.match(JSON.stringify(change), /shop\/two.*spiffe:\/\/partner\.test\/ns\/shop\/sa\/two/);
  });

  test('lets cases of tests come from there, without a customer', () => {
    const from = 'spiffe://partner.test/billing';
    const run = (federation: string, more = '') => {
      const document = `apiVersion: cellmesh.io/v1alpha1
kind: PolicyTest
metadata: { name: t }
spec:
  cases: [{ name: one, request: { from: "${from}", to: shop/one, method: GET, path: /${more} }, expect: { allow: r } }]
`;
      const cell = CellAtHand.read(new Map([['cell.yaml', textOf({ federation, from })]]));
      const [result] = runCases(cell, readCases(new Map([['a.test.yaml', document]])), 0);
      return result!.hops.flatMap(({ differences }) => differences);
    };
    assert.deepEqual(run(entry('partner.test')), []);
    assert.throws(() => run(''), isSaid(/no connection from spiffe:\/\/partner\.test\/billing is accepted/));
    assert.throws(() => run(entry('partner.test'), ', token: { scopes: [] }'), isSaid(/it brings no customer/));
  });
});
