import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileCell } from '#policy/compile.ts';
import { readDocuments } from '#policy/read-documents.ts';
import type { SnapshotCall } from '#policy/snapshot.ts';

/** The call of `two` to `one`, as its sidecar gets it. */
function callOf(defaults: string, call = ''): SnapshotCall {
  const service = (name: string, more = '') => `---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: ${name}, namespace: shop }
spec:
  serviceAccount: ${name}
  mode: enforce
  ports: [{ port: 80, protocol: http }]
${more}`;
  const { cells, policies } = readDocuments(
    `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.example
  domain: example
  tokenIssuer: https://identity.example
  scopes: {}
${defaults}${service('one')}${service('two', `  calls: [{ to: shop/one${call} }]\n`)}`,
    'cell.yaml',
  );
  return [...compileCell(cells[0]!, policies).snapshots.values()].flatMap(({ calls }) => calls)[0]!;
}

const defaults = '  defaults: { timeouts: { connect: 1s, head: 2s, total: 1m } }\n';
const all = { headMs: 2_000, totalMs: 60_000 };

test('a call that says nothing has the time-outs of its cell', () => {
  const { connectMs, routes } = callOf(defaults);
  assert.deepEqual([connectMs, routes], [1_000, [{ timeouts: all }]]);
});

test('what a call or its route says comes before what the cell says, field by field', () => {
  const { connectMs, routes } = callOf(
    defaults,
    ', timeouts: { connect: 5s, head: 3s }, routes: [{ http: { methods: [GET] }, timeouts: { total: 1s } }]',
  );
  assert.equal(connectMs, 5_000);
  assert.deepEqual(routes, [
    { methods: ['GET'], timeouts: { headMs: 3_000, totalMs: 1_000 } },
    { timeouts: { headMs: 3_000, totalMs: 60_000 } },
  ]);
});

test('what no route of a call takes has them too', () => {
  const { routes } = callOf(defaults, ', routes: [{ http: { methods: [GET] }, timeouts: { total: 1s } }]');
  assert.deepEqual(routes, [{ methods: ['GET'], timeouts: { ...all, totalMs: 1_000 } }, { timeouts: all }]);
});

test('without them nothing changes', () => {
  assert.deepEqual([callOf('').connectMs, callOf('').routes], [undefined, []]);
  const { routes } = callOf('  defaults: {}\n', ', timeouts: { head: 3s }');
  assert.deepEqual(routes, [{ timeouts: { headMs: 3_000 } }]);
});
