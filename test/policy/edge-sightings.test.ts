import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { EdgeSightings, edgesMax } from '#policy/edge-sightings.ts';

const inbound = { direction: 'inbound', peer: 'spiffe://c/ns/n/sa/a', rule: 'read', granted: 'a:read' } as const;
const outbound = { direction: 'outbound', callee: 'n/b', route: 'GET /v1/**', granted: 'a:read' } as const;

describe('of a permit it is known', () => {
  test('whether it is the first of its edge', () => {
    const edges = new EdgeSightings();
    const kinds = (record: Partial<DecisionRecord> & Pick<DecisionRecord, 'direction'>) => [
      edges.kindOf(record),
      edges.kindOf(structuredClone(record)),
    ];
    const firstOnly = ['sighting', 'permit'];
    assert.deepEqual(kinds(inbound), firstOnly);
    for (const change of [
      { peer: 'spiffe://c/ns/n/sa/b' },
      { rule: 'write' },
      { granted: 'a:read a:write' },
      { granted: '' },
    ])
      assert.deepEqual(kinds({ ...inbound, ...change }), firstOnly, JSON.stringify(change));
    assert.deepEqual(kinds({ ...inbound, path: '/v1/other', account: 'AC1' }), ['permit', 'permit']);
    for (const address of ['10.0.0.1', '10.0.0.2'])
      assert.deepEqual(kinds({ ...inbound, peer: 'unmeshed', address }), firstOnly, address);
    assert.deepEqual(kinds(outbound), firstOnly);
    for (const change of [{ callee: 'n/c' }, { route: '' }, { granted: '' }])
      assert.deepEqual(kinds({ ...outbound, ...change }), firstOnly, JSON.stringify(change));
    assert.deepEqual(kinds({ direction: 'edge', callee: 'n/b', rule: 'GET /v1/**', granted: 'a:read' }), firstOnly);
    assert.equal(edges.size, 12);
  });

  test('that a failure is none', () => {
    const edges = new EdgeSightings();
    assert.equal(edges.kindOf({ ...inbound, reason: 'scope_missing' }), 'failure');
    assert.equal(edges.kindOf(inbound), 'sighting');
  });

  test('nothing new when there are too many edges, and they are counted', () => {
    const edges = new EdgeSightings();
    for (let n = 0; n < edgesMax; n++)
      assert.equal(edges.kindOf({ ...inbound, peer: String(n % 100), rule: String(n) }), 'sighting');
    assert.deepEqual([edges.size, edges.overflow], [edgesMax, 0]);
    assert.equal(edges.kindOf(outbound), 'permit');
    assert.equal(edges.kindOf({ ...inbound, peer: '1', rule: '1' }), 'permit', 'a known one is still known');
    assert.deepEqual([edges.size, edges.overflow], [edgesMax, 1]);
  });
});
