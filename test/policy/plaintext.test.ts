import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { parseCanonicalPath } from '#policy/canonical-path.ts';
import { CellAtHand } from '#policy/cases/cell-at-hand.ts';
import { readCases } from '#policy/cases/read-cases.ts';
import { runCases } from '#policy/cases/run-cases.ts';
import { compileCell } from '#policy/compile.ts';
import { InboundPolicy } from '#policy/decide-inbound.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { graphOf } from '#policy/graph/graph.ts';
import { mermaidOf } from '#policy/graph/mermaid.ts';
import { type Peer, unmeshed } from '#policy/peer-pattern.ts';
import { readDocuments } from '#policy/read-documents.ts';
import { replay } from '#policy/replay.ts';
import type { InboundRequest } from '#policy/rule.ts';
import { parsePolicySnapshot, serializePolicySnapshot } from '#policy/snapshot.ts';
import { requiredFeatures } from '#policy/snapshot-features.ts';
import { isCellmeshError } from '#runtime/errors.ts';

const trustDomain = parseTrustDomain('cell-1.example');
const until = '2027-01-31T12:00:00Z';
const untilMs = Date.parse(until);
const observing = `  inbound: { mode: observe-plaintext, until: ${until} }\n`;
const open = '  allow: [{ name: open, from: [unmeshed], http: { paths: [/open] }, account: none }]\n';

function documents({ spec = '', mode = 'enforce' }) {
  return readDocuments(
    `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec: { trustDomain: cell-1.example, domain: example, tokenIssuer: "https://identity.example", scopes: { a:read: Read a. } }
---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: one, namespace: shop }
spec:
  serviceAccount: one
  mode: ${mode}
  ports: [{ port: 80, protocol: http }]
${spec}---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: two, namespace: shop }
spec: { serviceAccount: two, mode: enforce, ports: [{ port: 80, protocol: http }], calls: [{ to: shop/one }] }
`,
    'cell.yaml',
  );
}

function snapshotOf(given: { spec?: string; mode?: string }) {
  const { cells, policies } = documents(given);
  return compileCell(cells[0]!, policies).snapshots.get(workloadId(trustDomain, 'shop', 'one'))!;
}

const asking = (changed: { peer?: Peer; path?: string; nowMs?: number } = {}): InboundRequest => ({
  ...{ peer: unmeshed, isRouter: false, port: 80, method: 'GET', token: undefined, left: undefined, nowMs: 0 },
  ...changed,
  path: parseCanonicalPath(changed.path ?? '/open'),
});

function decide(given: { spec?: string; mode?: string }, request: InboundRequest): string {
  const decision = new InboundPolicy(snapshotOf(given)).decide(request);
  return decision.outcome === 'deny' ? decision.reason : `${decision.rule}${decision.audited ? ' (audited)' : ''}`;
}

describe('a caller without TLS', () => {
  test('is heard by rules that say so, until the time that the manifest says, by whatever clock decides', () => {
    const spec = observing + open;
    assert.equal(decide({ spec }, asking()), 'open');
    assert.equal(decide({ spec }, asking({ path: '/other' })), 'route_not_allowed');
    assert.equal(decide({ spec }, asking({ nowMs: untilMs - 1 })), 'open');
    assert.equal(decide({ spec }, asking({ nowMs: untilMs })), 'plaintext_not_allowed');
  });

  test('is heard by nobody where the manifest does not say that it is', () => {
    assert.equal(decide({ spec: open }, asking()), 'plaintext_not_allowed');
    assert.equal(decide({ spec: `  inbound: { mode: strict }\n${open}` }, asking()), 'plaintext_not_allowed');
  });

  for (const from of ['any', 'router', 'shop/two', 'spiffe://cell-1.example/**'])
    test(`is not meant by ${from}`, () => {
      const rule = `  allow: [{ name: r, from: ["${from}"], account: none }]\n`;
      assert.equal(decide({ spec: observing + rule }, asking()), 'peer_not_allowed');
    });

  test('is not meant by any of ten rules for others, which are found by their peers', () => {
    const rules = Array.from(
      { length: 10 },
      (_, at) => `    - { name: r${at}, from: [any, shop/two], account: none }\n`,
    );
    assert.equal(decide({ spec: `${observing}  allow:\n${rules.join('')}` }, asking()), 'peer_not_allowed');
    const last = '    - { name: open, from: [unmeshed], account: none }\n';
    assert.equal(decide({ spec: `${observing}  allow:\n${rules.join('')}${last}` }, asking()), 'open');
  });

  test('is refused in mode audit as well: that softens a missing rule, not missing TLS', () => {
    const spec = `${observing}  allow: [{ name: r, from: [shop/two], account: none }]\n`;
    assert.equal(decide({ spec, mode: 'audit' }, asking()), 'peer_not_allowed');
    assert.equal(
      decide({ spec, mode: 'audit' }, asking({ peer: workloadId(trustDomain, 'shop', 'x') })),
      'undefined (audited)',
    );
  });

  test('has rules of its own that a workload does not fall under', () => {
    const two = workloadId(trustDomain, 'shop', 'two');
    assert.equal(decide({ spec: observing + open }, asking({ peer: two })), 'peer_not_allowed');
  });

  for (const [rule, said] of [
    ['from: [unmeshed]', /says `account: none`/],
    ['from: [unmeshed], account: none, scopes: [a:read]', /has no scopes/],
    ['from: [unmeshed, any], account: none, anyScope: [a:read]', /has no scopes/],
    ['from: [unmeshed], account: none, claims: [{ claim: sub, equals: x }]', /has no scopes/],
    ['from: [unmeshed], account: none, actor: required', /has no scopes/],
    ['from: [unmeshed], account: none, sensitive: true', /is not sensitive/],
  ] as const)
    test(`has no rule with ${rule}`, () => {
      assert.throws(
        () => documents({ spec: `${observing}  allow: [{ name: r, ${rule} }]\n` }),
        (error) => isCellmeshError(error, 'document_invalid') && said.test(error.problems.join()),
      );
    });

  for (const [inbound, said] of [
    ['{ mode: observe-plaintext }', /say `until` when/],
    [`{ mode: strict, until: ${until} }`, /`until` is of `observe-plaintext`/],
    ['{ mode: observe-plaintext, until: tomorrow }', /no moment in UTC/],
  ] as const)
    test(`is not let in by ${inbound}`, () => {
      assert.throws(
        () => documents({ spec: `  inbound: ${inbound}\n` }),
        (error) => isCellmeshError(error, 'document_invalid') && said.test(error.problems.join()),
      );
    });
});

describe('a snapshot', () => {
  test('says until when, and which rules, and asks its receiver to know both', () => {
    const snapshot = snapshotOf({ spec: observing + open });
    assert.deepEqual(parsePolicySnapshot(serializePolicySnapshot(snapshot)), snapshot);
    assert.deepEqual([snapshot.plaintextUntilMs, snapshot.rules[0]?.isUnmeshedAllowed], [untilMs, true]);
    assert.deepEqual(requiredFeatures(snapshot), ['policy.unmeshed', 'policy.plaintext']);
  });

  test('of a control plane from before is strict', () => {
    const { isUnmeshedAllowed: _, ...rule } = snapshotOf({ spec: open }).rules[0]!;
    const older = JSON.parse(serializePolicySnapshot(snapshotOf({ spec: open })));
    older.rules = [JSON.parse(JSON.stringify(rule, (_, part) => part?.text ?? part))];
    const read = parsePolicySnapshot(JSON.stringify(older));
    assert.deepEqual([read.rules[0]?.isUnmeshedAllowed, read.plaintextUntilMs], [false, undefined]);
  });
});

test('a recorded request without TLS is decided again as one', () => {
  const policy = (spec: string) => new InboundPolicy(snapshotOf({ spec }));
  const record: DecisionRecord = {
    ...{ schema: 2, id: 'one-1', time: '2027-01-01T00:00:00.000Z', direction: 'inbound', instance: 'one', status: 200 },
    ...{ outcome: 'permit', peer: 'unmeshed', service: 'shop/one', port: 80, method: 'GET', path: '/open' },
  } as const;
  assert.equal(replay(policy(observing + open), record).tag, 'allowed');
  const again = replay(policy(open), record);
  assert.equal(again.tag === 'denied' && again.denial.reason, 'plaintext_not_allowed');
});

test('a graph shows callers without TLS where rules are for them, and whether they come', () => {
  const graph = (spec: string) => {
    const { cells, policies } = documents({ spec });
    return graphOf(cells[0]!, policies);
  };
  const edgeOf = (spec: string) => graph(spec).edges.find(({ from }) => from === 'unmeshed');
  assert.deepEqual(edgeOf(observing + open)?.rules, ['open']);
  assert.equal(edgeOf(open)?.missing, 'call');
  assert.equal(edgeOf(observing), undefined);
  assert.match(mermaidOf(graph(observing + open)), /\(\["unmeshed"\]\)/);
});

test('a case of a test comes without TLS, with nothing that would have to be believed', () => {
  const cell = `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec: { trustDomain: cell-1.example, domain: example, tokenIssuer: "https://identity.example", scopes: { a:read: Read a. } }
---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: one, namespace: shop }
spec:
  serviceAccount: one
  mode: enforce
  ports: [{ port: 80, protocol: http }]
${observing}${open}`;
  const cases = (more: string, expect: string) => `apiVersion: cellmesh.io/v1alpha1
kind: PolicyTest
metadata: { name: t }
spec:
  cases: [{ name: one, request: { from: unmeshed, to: shop/one, method: GET, ${more} }, expect: { ${expect} } }]
`;
  const run = (more: string, expect: string) => {
    const read = readCases(new Map([['a.test.yaml', cases(more, expect)]]));
    const [result] = runCases(CellAtHand.read(new Map([['cell.yaml', cell]])), read, 0);
    return result!.hops.flatMap(({ differences }) => differences.map(({ actual }) => actual));
  };
  assert.deepEqual(run('path: /open', 'allow: open'), []);
  assert.deepEqual(run('path: /other', 'deny: route_not_allowed, by: callee'), []);
  assert.deepEqual(run(`path: /open, time: "${until}"`, 'deny: plaintext_not_allowed'), []);
  for (const claimed of ['token: { scopes: [a:read] }', 'as: self', 'host: one.example'])
    assert.throws(
      () => run(`path: /open, ${claimed}`, 'allow: open'),
      (error) => isCellmeshError(error, 'document_invalid') && /is believed nothing/.test(error.problems.join()),
    );
});
