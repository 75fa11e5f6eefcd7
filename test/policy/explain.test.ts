import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { callOf } from '#policy/cases/call.ts';
import { CellAtHand } from '#policy/cases/cell-at-hand.ts';
import { type CallDecision, decideCall } from '#policy/cases/decide-call.ts';
import { readRequest } from '#policy/cases/read-request.ts';
import { claimsOf, type DecisionRecord } from '#policy/decision-record.ts';
import { explainCall } from '#policy/explain/explain-call.ts';
import { explainDecision } from '#policy/explain/explain-decision.ts';
import { explain } from '#policy/explain/explain-record.ts';
import { readYamlFiles } from '#runtime/yaml-files.ts';
import { decisionRecord } from '../support/decision-records.ts';

const manifests = await readYamlFiles(join(import.meta.dirname, '../../examples/messaging/policy'));
const nowMs = Date.parse('2027-01-01T00:00:00Z');

type Edit = readonly [file: string, from: string, to: string];

function edited(...edits: readonly Edit[]): CellAtHand {
  const texts = new Map(manifests);
  for (const [file, from, to] of edits) {
    const text = texts.get(file) ?? '';
    assert.ok(from === '' || text.includes(from), `${file}: ${from}`);
    texts.set(file, from === '' ? text + to : text.replace(from, to));
  }
  return CellAtHand.read(texts);
}

function decide(request: string, policies: CellAtHand) {
  const { request: read, problems } = readRequest(`{ ${request} }`, 'request');
  assert.deepEqual(problems, []);
  const call = callOf(read!, policies, nowMs);
  const decision = decideCall(policies, call);
  return { made: decision, ...explainCall(policies, call, decision) };
}

/** As the callee's sidecar writes it down. */
function recordOf(decision: CallDecision, policies: CellAtHand, change: Partial<DecisionRecord> = {}): DecisionRecord {
  assert.ok('asked' in decision);
  const { policy, request } = decision.asked;
  const { token, left } = request;
  return {
    ...{ schema: 2, id: 'delivery-1.1', time: new Date(request.nowMs).toISOString(), direction: 'inbound' },
    ...{ instance: 'delivery-1', outcome: decision.outcome === 'deny' ? 'deny' : 'permit', status: 200 },
    ...{ peer: request.peer, service: policy.snapshot.service.name, port: request.port, method: request.method },
    ...{ path: request.path, policyVersion: policies.version },
    ...(decision.outcome === 'allow' ? { rule: decision.rule } : { ...decision.denial, outcome: 'deny' as const }),
    ...(token && { claims: claimsOf(token, policy.claimPointers), account: token.account! }),
    ...(left && { left: left.text }),
    ...change,
  };
}

const fromMessaging = 'from: messaging/messaging, to: messaging/delivery';
const post = 'method: POST, path: /deliveries';
const create = 'token: { scopes: [deliveries:create] }';
const createRule = '      scopes: [deliveries:create]';

describe('what would have to change', () => {
  const observing = [
    'delivery.yaml',
    'spec:',
    'spec:\n  inbound: { mode: observe-plaintext, until: 2027-02-01T00:00:00Z }',
  ] as const;

  test('for a caller without TLS is not to be named by a rule that asks for scopes, which the reader refuses', () => {
    const { needed } = decide(`from: unmeshed, to: messaging/delivery, ${post}`, edited(observing));
    assert.equal(needed?.rule, 'create');
    assert.deepEqual(needed.changes, [
      'call through a sidecar: rule create asks for what nobody proves without TLS; or write a rule with `from: [unmeshed]` that does not ask for it',
    ]);
  });

  test('for a caller without TLS is what the reader takes, where a rule asks for nothing', () => {
    const open: Edit = ['delivery.yaml', createRule, '      account: none'];
    const { needed } = decide(`from: unmeshed, to: messaging/delivery, ${post}`, edited(observing, open));
    assert.deepEqual(needed, { rule: 'create', changes: ['add unmeshed to `from` of rule create'] });
    const named: Edit = ['delivery.yaml', 'from: [messaging/messaging]', 'from: [messaging/messaging, unmeshed]'];
    const { made } = decide(`from: unmeshed, to: messaging/delivery, ${post}`, edited(observing, open, named));
    assert.equal(made.outcome, 'allow');
  });

  const cases: readonly (readonly [
    name: string,
    request: string,
    before: readonly Edit[],
    changes: readonly string[],
    after: readonly Edit[],
  ])[] = [
    [
      'a path',
      `${fromMessaging}, method: POST, path: /deliveries/x, ${create}`,
      [],
      ['add /deliveries/x to the paths of rule create'],
      [['delivery.yaml', 'paths: [/deliveries]', 'paths: [/deliveries, /deliveries/x]']],
    ],
    [
      'a method',
      `${fromMessaging}, method: PUT, path: /deliveries, ${create}`,
      [],
      ['add PUT to `http.methods` of rule create'],
      [['delivery.yaml', 'methods: [POST]', 'methods: [POST, PUT]']],
    ],
    [
      'a peer that declares the call',
      `from: messaging/carrier, to: messaging/delivery, ${post}, ${create}`,
      [['carrier.yaml', '', '  calls: [{ to: messaging/delivery }]\n']],
      ['add messaging/carrier to `from` of rule create'],
      [['delivery.yaml', 'from: [messaging/messaging]', 'from: [messaging/messaging, messaging/carrier]']],
    ],
    [
      'a peer without a manifest',
      `from: messaging/stranger, to: messaging/delivery, ${post}, ${create}`,
      [],
      ['add messaging/stranger to `from` of rule create'],
      [['delivery.yaml', 'from: [messaging/messaging]', 'from: [messaging/messaging, messaging/stranger]']],
    ],
    [
      'an end',
      `${fromMessaging}, ${post}, ${create}`,
      [['delivery.yaml', createRule, `${createRule}\n      until: 2026-12-31T00:00:00Z`]],
      ['move `until` of rule create past 2027-01-01T00:00:00.000Z'],
      [['delivery.yaml', '2026-12-31', '2027-02-01']],
    ],
    [
      'no customer, and the scope for it',
      `${fromMessaging}, ${post}, as: self`,
      [],
      [
        'call for a customer (pass the context of the request on), or write `account: none` into rule create',
        'add deliveries:create to `own` of the call of messaging/messaging to messaging/delivery',
      ],
      [
        ['delivery.yaml', createRule, `${createRule}\n      account: none`],
        ['messaging.yaml', 'own: [deliveries:read]', 'own: [deliveries:read, deliveries:create]'],
      ],
    ],
    [
      'a scope that the caller does not carry',
      `${fromMessaging}, method: DELETE, path: /deliveries/7, token: { scopes: [deliveries:cancel] }`,
      [],
      [
        'add deliveries:cancel to `carry` of the call of messaging/messaging to messaging/delivery, and of calls before it that leave it out',
      ],
      [['messaging.yaml', 'carry: [deliveries:create,', 'carry: [deliveries:cancel, deliveries:create,']],
    ],
    [
      'a scope that the platform does not let it carry either',
      `${fromMessaging}, method: DELETE, path: /deliveries/7, token: { scopes: [deliveries:cancel] }`,
      [['cell.yaml', '', '  ceiling: [{ from: any, to: messaging/delivery, scopes: [deliveries:read] }]\n']],
      [
        'add deliveries:cancel to `carry` of the call of messaging/messaging to messaging/delivery, and to `ceiling` of the Cell from messaging/messaging to messaging/delivery, and of calls before it that leave it out',
      ],
      [
        ['messaging.yaml', 'carry: [deliveries:create,', 'carry: [deliveries:cancel, deliveries:create,'],
        ['cell.yaml', 'scopes: [deliveries:read] }]', 'scopes: [deliveries:read, deliveries:cancel] }]'],
      ],
    ],
    [
      'an actor',
      `${fromMessaging}, ${post}, token: { scopes: [deliveries:create], act: { sub: cat } }`,
      [['delivery.yaml', createRule, `${createRule}\n      actor: [bot]`]],
      ['change `actor` of rule create (["bot"]), or come with bot'],
      [['delivery.yaml', 'actor: [bot]', 'actor: [bot, cat]']],
    ],
    [
      'a claim',
      `${fromMessaging}, ${post}, token: { scopes: [deliveries:create], claims: { plan: free } }`,
      [['delivery.yaml', createRule, `${createRule}\n      claims: [{ pointer: /plan, equals: gold }]`]],
      ['come with a token for /plan to be "gold", or change `claims` of rule create'],
      [['delivery.yaml', 'equals: gold', 'in: [gold, free]']],
    ],
    [
      'a call that a pattern means and nobody declares',
      `from: messaging/stranger, to: messaging/delivery, ${post}, ${create}`,
      [
        [
          'delivery.yaml',
          'from: [messaging/messaging]',
          'from: [messaging/messaging, "spiffe://cell-1.cellmesh.localhost/ns/messaging/sa/*"]',
        ],
      ],
      ['name messaging/stranger itself in `from` of rule create: it has no manifest'],
      [['delivery.yaml', 'from: [messaging/messaging,', 'from: [messaging/messaging, messaging/stranger,']],
    ],
  ];
  for (const [name, request, before, changes, after] of cases) {
    test(`${name}: it is named, the fewest of it, and with it the request is allowed`, () => {
      const explained = decide(request, edited(...before));
      assert.equal(explained.decision.outcome, 'deny');
      assert.deepEqual(explained.needed?.changes, changes);
      const changed = decide(request, edited(...before, ...after));
      assert.equal(changed.decision.outcome, 'allow', JSON.stringify(changed.decision));
      assert.equal(changed.needed, undefined);
    });
  }

  test('a scope that the customer does not have is for its key; one that was left behind for a call before', () => {
    const policies = edited();
    const missing = decide(`${fromMessaging}, ${post}, token: { scopes: [] }`, policies);
    assert.deepEqual(missing.needed?.changes, ["grant deliveries:create to the customer's key"]);
    const behind = decide(`${fromMessaging}, ${post}, token: { scopes: [deliveries:create], left: [] }`, policies);
    assert.deepEqual(behind.needed?.changes, ['add deliveries:create to `carry` of a call before: it was not left']);
  });
});

describe('a recorded decision', () => {
  const policies = edited();
  const denied = decide(
    `${fromMessaging}, method: DELETE, path: /deliveries/7, token: { scopes: [deliveries:cancel] }`,
    policies,
  );

  test('is held against every rule of the version that was in force: the nearest first, as it was recorded', () => {
    const { rules, needed, notes, version } = explainDecision(recordOf(denied.made, policies), policies);
    assert.deepEqual([version, notes], [policies.version, []]);
    assert.deepEqual(rules, denied.rules);
    assert.deepEqual(needed, denied.needed);
    assert.equal(rules![0]!.rule, 'cancel');
  });

  test('that was allowed has the rule first, and nothing that would have to change', () => {
    const { made } = decide(`${fromMessaging}, ${post}, ${create}`, policies);
    const { rules, needed, notes } = explainDecision(recordOf(made, policies), policies);
    assert.deepEqual([rules![0]!.rule, rules![0]!.allows, needed, notes], ['create', true, undefined, []]);
  });

  test('is what was recorded, and nothing of today, when that version cannot be had', () => {
    const explained = explainDecision(recordOf(denied.made, policies), { why: 'no policy version is kept' });
    assert.deepEqual(Object.keys(explained), ['version', 'notes']);
    assert.match(
      explained.notes[0]!,
      /cannot be had: no policy version is kept\. What stands above is what was recorded\./,
    );
  });

  test('says so when the manifests mean something else to this program, and when they say something else than was recorded', () => {
    const { notes } = explainDecision(recordOf(denied.made, policies, { policyVersion: 'old' }), policies);
    assert.match(notes[0]!, /^Read by this cellmesh, the manifests of version old are version /);
    const other = edited([
      'delivery.yaml',
      'scopes: [deliveries:cancel]',
      'scopes: [deliveries:create]\n      until: 2026-01-01T00:00:00Z',
    ]);
    const said = explainDecision(recordOf(denied.made, policies, { policyVersion: other.version }), other).notes;
    assert.deepEqual(said, []);
    const renamed = edited(['delivery.yaml', 'name: cancel', 'name: recall']);
    const differs = explainDecision(recordOf(denied.made, policies, { policyVersion: renamed.version }), renamed).notes;
    assert.deepEqual(differs, ['Held against the rules again, recall comes first; recorded was cancel.']);
  });

  test('has claims that were not recorded: their conditions are not known, and do not fail', () => {
    const asking = edited([
      'delivery.yaml',
      createRule,
      `${createRule}\n      claims: [{ pointer: /plan, equals: gold }]`,
    ]);
    const { made } = decide(`${fromMessaging}, ${post}, ${create}`, policies);
    const record = recordOf(made, policies, {
      policyVersion: asking.version,
      outcome: 'deny',
      reason: 'claim_not_allowed',
    });
    const { rules, needed, notes } = explainDecision(record, asking);
    const claims = rules![0]!.conditions.find(({ condition }) => condition === 'claims')!;
    assert.deepEqual([rules![0]!.rule, claims.isUnknown, claims.actual], ['create', true, '/plan: not recorded']);
    assert.deepEqual(notes, ['Not all claims that rules ask for were recorded: create.']);
    assert.deepEqual(needed?.changes, [
      'nothing perhaps: the claim was not recorded (/plan to be "gold" of rule create)',
    ]);
    const values = { ...record.claims!, values: { '/plan': ['free'] } };
    const known = explainDecision({ ...record, claims: values }, asking).rules![0]!;
    const [condition] = known.conditions.filter((one) => one.condition === 'claims');
    assert.deepEqual([condition!.isUnknown, condition!.actual], [undefined, '/plan: "free"']);
  });

  test('that every rule was out of budget for names the limits', () => {
    const limited = edited([
      'delivery.yaml',
      createRule,
      `${createRule}\n      limits: [{ per: account, perSecond: 1 }]`,
    ]);
    const { made } = decide(`${fromMessaging}, ${post}, ${create}`, limited);
    const record = recordOf(made, limited, { outcome: 'deny', reason: 'limit_reached' });
    const { rules, needed } = explainDecision(record, limited);
    assert.deepEqual(rules![0]!.conditions.at(-1), {
      condition: 'limit',
      holds: false,
      expected: '1 a second for each account, 1 at once',
      actual: 'more',
    });
    assert.deepEqual(needed?.changes, ['come less often, or raise `limits` of rule create (account)']);
  });

  test('that rules had no say in says so; of calls out and of the edge it says what is known', () => {
    const base = { policyVersion: policies.version, service: 'messaging/api', outcome: 'deny' } as const;
    const notesOf = (change: Partial<DecisionRecord>) =>
      explainDecision(decisionRecord(1, { ...base, ...change }), policies).notes;
    assert.deepEqual(notesOf({ reason: 'hop_missing' }), ['Rules had no say in it.']);
    const failed = { condition: 'call', expected: 'messaging', actual: 'delivery.messaging:14280' } as const;
    assert.deepEqual(notesOf({ direction: 'outbound', reason: 'not_declared', failed }), [
      'Calls that messaging/api declared: messaging/messaging (messaging, messaging.messaging, messaging.messaging.svc, messaging.messaging.svc.cluster.local).',
      'delivery.messaging was messaging/delivery: add `to: messaging/delivery` to `calls` of messaging/api.',
    ]);
    assert.equal(
      notesOf({ direction: 'outbound', reason: 'not_declared', failed: { ...failed, actual: 'nowhere' } })[1],
      'No manifest had the host nowhere.',
    );
    const { policyVersion: _none, ...edge } = decisionRecord(1, { direction: 'edge', reason: 'route_unknown' });
    assert.deepEqual(explainDecision(edge, policies).notes, [
      'Routers decide by what is exposed; rules have their say in the cell.',
    ]);
    assert.match(
      notesOf({ reason: 'scope_missing', service: 'messaging/gone' })[0]!,
      /has no manifest of messaging\/gone/,
    );
    const { peer: _peer, ...torn } = decisionRecord(1, { ...base, reason: 'scope_missing' });
    assert.match(
      explainDecision(torn, policies).notes[0]!,
      /cannot be put together from the record: decision .* lacks the peer/,
    );
  });
});

test('a record in words has its claims, one by one, and what a candidate said', () => {
  const claims = {
    kind: 'cell',
    subject: 's',
    clientId: 'c',
    tokenId: 't',
    scope: 'a:b',
    actor: 'bot',
    values: { '/plan': ['gold'], '/x': [] },
  };
  const candidate = {
    version: 'c1',
    outcome: 'deny',
    reason: 'scope_missing',
    isInForce: false,
    before: 'permit',
  } as const;
  const lines = explain(decisionRecord(1, { claims, candidate })).split('\n');
  for (const line of [
    '          act.sub: bot',
    '          /plan: "gold"',
    '          /x: none',
    'Candidate c1 denies it with scope_missing; it was not in force',
  ])
    assert.ok(lines.includes(line), lines.join('\n'));
});
