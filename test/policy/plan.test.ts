import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compileCell } from '#policy/compile.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { CellPolicies } from '#policy/plan/cell-policies.ts';
import { type Plan, Planner } from '#policy/plan/plan.ts';
import { readManifests } from '#policy/read-manifests.ts';

/** Two services: what a plan says of records of either, and of the edge, when one line of the manifests changes. */
const cell = `
apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec: { trustDomain: cell-1.example, domain: example, tokenIssuer: https://i, scopes: { "x:r": S., "y:r": S. } }
`;
const front = `
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: front, namespace: ns }
spec:
  serviceAccount: front
  mode: enforce
  ports: [{ port: 80, protocol: http }]
  expose: [{ hosts: [www.example], paths: ["/shop/**"], auth: none }]
  allow: [{ name: all, from: [router], account: none }]
  calls: [{ to: ns/back, carry: [x:r] }]
`;
const back = `
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: back, namespace: ns }
spec:
  serviceAccount: back
  mode: enforce
  ports: [{ port: 81, protocol: http }, { port: 82, protocol: http }]
  allow:
    - { name: items, from: [ns/front], port: 81, http: { paths: [/items] }, scopes: [x:r] }
    - { name: open, from: [ns/front], http: { paths: [/open] }, account: none }
`;

function policies(...manifests: string[]): CellPolicies {
  const { cell: document, policies: all } = readManifests(new Map([['all.yaml', [cell, ...manifests].join('---')]]));
  return new CellPolicies(compileCell(document, all));
}

const claims = { kind: 'cell', subject: 's', clientId: 'c', tokenId: 'j', scope: 'x:r y:r' };
const base: Omit<DecisionRecord, 'direction'> = {
  ...{ schema: 2, id: 'd', time: '2026-11-28T00:00:00.000Z', instance: 'i', status: 200, method: 'GET' },
  ...{ outcome: 'permit', account: 'AC1' },
};
const inbound: DecisionRecord = {
  ...{ ...base, direction: 'inbound', service: 'ns/back', peer: 'spiffe://cell-1.example/ns/ns/sa/front', port: 81 },
  ...{ path: '/items', claims, left: 'x:r', granted: 'x:r', rule: 'items' },
};
const outbound: DecisionRecord = {
  ...{ ...base, direction: 'outbound', service: 'ns/front', callee: 'ns/back', path: '/items', claims },
  ...{ left: 'x:r y:r', granted: 'x:r' },
};
const { claims: _claims, left: _left, account: _account, ...outboundAlone } = outbound;
const edge: DecisionRecord = {
  ...{ ...base, direction: 'edge', callee: 'cell-1 ns/front', path: '/shop/1', rule: 'expose www.example' },
};
const { account: _nobody, ...edgeAnonymous } = edge;
const refused = (record: DecisionRecord, reason: DecisionRecord['reason'], actual = ''): DecisionRecord => ({
  ...record,
  ...{ outcome: 'deny', status: 403, reason: reason!, failed: { condition: 'call', expected: '', actual } },
});

interface Case {
  readonly title: string;
  readonly record: DecisionRecord;
  /** Of the manifests in force. */
  readonly before?: readonly [front: string, back: string];
  readonly after: readonly string[];
  /** `kind: what is said now`; absent: nothing changes. */
  readonly says?: string;
}

const edited = (text: string, from: string, to: string): string => {
  assert.ok(text.includes(from), from);
  return text.replace(from, to);
};
const limits = 'account: none, limits: [{ per: peer, perSecond: 1 }] }';

const cases: readonly Case[] = [
  {
    title: 'a service that is gone',
    record: refused(inbound, 'peer_not_allowed'),
    after: [edited(front, 'calls: [{ to: ns/back, carry: [x:r] }]', 'calls: []')],
  },
  {
    title: 'a service that is gone, and allowed',
    record: inbound,
    after: [edited(front, 'calls: [{ to: ns/back, carry: [x:r] }]', 'calls: []')],
    says: 'newlyDenied: policy_missing',
  },
  { title: 'a caller that is gone', record: inbound, after: [back], says: 'newlyDenied: policy_missing' },
  {
    title: 'a caller that is gone, on its own side',
    record: outbound,
    after: [back],
    says: 'newlyDenied: policy_missing',
  },
  {
    title: 'a port that is gone',
    record: inbound,
    after: [front, edited(edited(back, '{ port: 81, protocol: http }, ', ''), 'port: 81, http', 'http')],
    says: 'newlyDenied: host_unknown',
  },
  {
    title: 'a port of another kind',
    record: { ...inbound, path: '/open', rule: 'open' },
    after: [
      front,
      edited(edited(back, '81, protocol: http', '81, protocol: tcp'), 'port: 81, http: { paths: [/items] },', ''),
    ],
    says: 'newlyDenied: protocol_mismatch',
  },
  {
    title: 'a host that is gone',
    record: inbound,
    after: [front, edited(back, '  ports:', '  hosts: [back]\n  ports:')],
    says: 'unknown: by which host it was called is not recorded, and back.ns, back.ns.svc, back.ns.svc.cluster.local is gone',
  },
  {
    title: 'a call that carries less',
    record: inbound,
    after: [edited(front, 'carry: [x:r]', 'carry: [y:r]'), back],
    says: 'newlyDenied: scope_not_carried',
  },
  {
    title: 'a call that takes nobody along any more',
    record: inbound,
    after: [edited(front, 'carry: [x:r]', 'token: none'), back],
    says: 'newlyDenied: token_missing',
  },
  {
    title: 'a route that asks for more, which the caller may carry now',
    record: { ...inbound, claims, left: 'x:r' },
    after: [edited(front, '[x:r]', '[x:r, y:r]'), edited(back, 'scopes: [x:r]', 'scopes: [x:r, y:r]')],
  },
  {
    title: 'a route that asks for a scope that the token lacks',
    record: { ...inbound, claims: { ...claims, scope: 'x:r' } },
    after: [edited(front, '[x:r]', '[x:r, y:r]'), edited(back, 'scopes: [x:r]', 'scopes: [x:r, y:r]')],
    says: 'newlyDenied: scope_missing',
  },
  {
    title: 'a call that is declared no longer',
    record: outbound,
    after: [edited(front, 'calls: [{ to: ns/back, carry: [x:r] }]', 'calls: []'), back],
    says: 'newlyDenied: not_declared',
  },
  {
    title: 'a call that was not declared',
    record: refused({ ...base, direction: 'outbound', service: 'ns/front' }, 'not_declared', 'back.ns:82'),
    before: [edited(front, 'calls: [{ to: ns/back, carry: [x:r] }]', 'calls: []'), back],
    after: [front, back],
    says: 'unknown: the call is declared now, and what it asked for was not recorded',
  },
  {
    title: 'a call that is still not declared',
    record: refused({ ...base, direction: 'outbound', service: 'ns/front' }, 'not_declared', 'elsewhere'),
    before: [edited(front, 'carry: [x:r]', 'carry: []'), back],
    after: [front, back],
  },
  {
    title: 'a route that became sensitive',
    record: outbound,
    after: [
      front,
      edited(back, 'port: 81, http: { paths: [/items] },', 'port: 81, http: { paths: [/items] }, sensitive: true,'),
    ],
    says: 'unknown: whether the application says whose data it means is not recorded',
  },
  {
    title: 'a call without a customer that carries something now',
    record: outboundAlone,
    before: [edited(front, 'carry: [x:r]', 'carry: []'), back],
    after: [front, back],
    says: 'unknown: whether the application says `cellmesh-as: self` is not recorded, and the call carries a customer now',
  },
  {
    title: 'a call without context that needs none now',
    record: refused({ ...outboundAlone, path: '/open' }, 'context_missing'),
    after: [edited(front, 'carry: [x:r]', 'carry: []'), edited(back, ', { port: 82, protocol: http }', '')],
    says: 'newlyAllowed: rule open',
  },
  {
    title: 'a call without context that the callee would refuse',
    record: refused(outboundAlone, 'context_missing'),
    after: [edited(front, 'carry: [x:r]', 'carry: []'), edited(back, ', { port: 82, protocol: http }', '')],
  },
  {
    title: 'a call without context that goes to one of several ports',
    record: refused({ ...outboundAlone, path: '/open' }, 'context_missing'),
    after: [edited(front, 'carry: [x:r]', 'carry: []'), back],
    says: 'unknown: which port of ns/back was meant is not recorded',
  },
  {
    title: 'an unknown handle',
    record: refused(outbound, 'context_unknown'),
    after: [edited(front, 'carry: [x:r]', 'carry: []'), back],
  },
  {
    title: 'a token that did not hold',
    record: refused(inbound, 'token_expired'),
    after: [edited(front, 'carry: [x:r]', 'carry: []'), back],
  },
  {
    title: 'a limit that is gone',
    record: refused({ ...inbound, path: '/open' }, 'limit_reached'),
    before: [front, edited(back, 'account: none }', limits)],
    after: [front, back],
    says: 'newlyAllowed: rule open',
  },
  {
    title: 'a limit that is another now',
    record: refused({ ...inbound, path: '/open' }, 'limit_reached'),
    before: [front, edited(back, 'account: none }', limits)],
    after: [front, edited(back, 'account: none }', limits.replace('1 }', '2 }'))],
    says: 'unknown: what is left of the limits of its rules is not recorded',
  },
  {
    title: 'a path that is exposed no longer',
    record: edge,
    after: [edited(front, '/shop/**', '/store/**'), back],
    says: 'newlyDenied: route_unknown',
  },
  {
    title: 'a path that is exposed by another host',
    record: edge,
    after: [edited(front, 'www.example', 'shop.example'), back],
    says: 'unknown: by which host it was called is not recorded, and www.example is gone',
  },
  {
    title: 'a path that needs credentials now',
    record: edgeAnonymous,
    after: [edited(front, 'auth: none', 'auth: required'), back],
    says: 'newlyDenied: credentials_missing',
  },
  {
    title: 'a path that needs credentials now, which were there',
    record: edge,
    after: [edited(front, 'auth: none', 'auth: required'), back],
  },
  {
    title: 'the edge of another cell',
    record: { ...edge, callee: 'cell-2 ns/front' },
    after: [edited(front, '/shop/**', '/store/**'), back],
  },
];

function planOf(records: readonly DecisionRecord[], after: CellPolicies, before: CellPolicies | undefined): Plan {
  const planner = new Planner(after);
  for (const record of records) planner.add(record, before);
  return planner.plan();
}

describe('a plan says of', () => {
  for (const { title, record, before = [front, back], after, says } of cases) {
    test(`${title}: ${says ?? 'nothing'}`, () => {
      const plan = planOf([record], policies(...after), policies(...before));
      assert.deepEqual(
        plan.groups.map(({ change, after: now }) => `${change}: ${now}`),
        says === undefined ? [] : [says],
      );
      assert.equal(plan.unreadable, 0);
    });
  }

  test('a caller that may carry more, where it is not known what it carried: nothing, or that it is unknown', () => {
    const asked = edited(back, 'scopes: [x:r]', 'scopes: [x:r, y:r]');
    // Whatever way a customer's request comes to `front`, the scope is there.
    const wide = planOf([inbound], policies(edited(front, '[x:r]', '[x:r, y:r]'), asked), undefined);
    assert.deepEqual(wide.groups, []);
    // Another caller may bring it there, and routers do not.
    const ceiling = `${cell}  ceiling: [{ from: router, to: ns/front, scopes: [x:r] }]`.replace(
      'spec: { trustDomain: cell-1.example, domain: example, tokenIssuer: https://i, scopes: { "x:r": S., "y:r": S. } }',
      'spec:\n  trustDomain: cell-1.example\n  domain: example\n  tokenIssuer: https://i\n  scopes: { "x:r": S., "y:r": S. }',
    );
    const other = edited(edited(front, 'name: front', 'name: other'), 'serviceAccount: front', 'serviceAccount: other')
      .replace(/ {2}expose.*\n/, '')
      .replace('ns/back, carry: [x:r]', 'ns/front');
    const open = edited(edited(front, '[x:r]', '[x:r, y:r]'), 'from: [router]', 'from: [router, ns/other]');
    const texts = new Map([['all.yaml', [ceiling, open, asked, other].join('\n---')]]);
    const manifests = readManifests(texts);
    const after = new CellPolicies(compileCell(manifests.cell, manifests.policies));
    assert.deepEqual(
      planOf([inbound], after, undefined).groups.map(({ change, after: now }) => `${change}: ${now}`),
      ['unknown: whether y:r is left at the caller is not recorded'],
    );
  });

  test('records that are not what they say: how many they are', () => {
    const broken = [
      { ...inbound, peer: 'nobody' },
      { ...inbound, path: '/a/../b' },
      { ...inbound, left: 'X' },
    ];
    const plan = planOf(broken, policies(edited(front, '[x:r]', '[]'), back), policies(front, back));
    assert.deepEqual([plan.decisions, plan.unreadable, plan.groups], [3, 3, []]);
  });

  test('what limits could refuse: how many decisions come under one', () => {
    const after = policies(front, edited(back, 'account: none }', limits));
    const open = { ...inbound, path: '/open', rule: 'open' };
    assert.equal(planOf([inbound, open], after, policies(front, back)).underLimits, 1);
  });
});
