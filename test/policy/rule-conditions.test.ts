import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseSpiffeId, parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { parseCanonicalPath } from '#policy/canonical-path.ts';
import { type ClaimCondition, matchesClaim, parsePointer, valueAt } from '#policy/claim-condition.ts';
import { compileCell } from '#policy/compile.ts';
import { type Budgets, InboundPolicy } from '#policy/decide-inbound.ts';
import { readDocuments } from '#policy/read-documents.ts';
import { isInRollout } from '#policy/rollout.ts';
import type { InboundRequest } from '#policy/rule.ts';
import type { PolicySnapshot } from '#policy/snapshot.ts';
import { policyFeatures, requiredFeatures } from '#policy/snapshot-features.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import { parseAccountId } from '#tokens/account-id.ts';
import { parseScopeList } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';

const td = parseTrustDomain('cell-1.example');
const account = parseAccountId(`AC${'0'.repeat(31)}1`);
const noon = Date.parse('2026-11-28T12:00:00Z');

/** Services `shop/one`, asked, and `shop/two` and `shop/three`, which declare that they call it. */
function cellWith({
  allow,
  cell = '',
  candidate,
}: {
  allow: string;
  cell?: string;
  candidate?: string;
}): PolicySnapshot {
  const head = (name: string) => `---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: ${name}, namespace: shop }
spec:
  serviceAccount: ${name}
`;
  const text = `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.example
  domain: example
  tokenIssuer: https://identity.example
  scopes: { a:read: Read a., a:write: Write a., a:admin: Own a. }
${cell}
${head('one')}  mode: enforce
  ports: [{ port: 8080, protocol: http }, { port: 9090, protocol: grpc }]
  allow:
${allow}
${head('two')}  mode: enforce
  ports: [{ port: 1, protocol: http }]
  calls: [{ to: shop/one, carry: [a:read, a:write], own: [a:read, a:admin] }]
${head('three')}  mode: enforce
  ports: [{ port: 1, protocol: http }]
  calls: [{ to: shop/one }]
${candidate === undefined ? '' : `${head('one')}${candidate}`}`;
  const { cells, policies } = readDocuments(text, 'cell.yaml');
  return compileCell(cells[0]!, policies).snapshots.get(workloadId(td, 'shop', 'one'))!;
}

function tokenOf(changed: Partial<VerifiedToken> = {}): VerifiedToken {
  const scopes = parseScopeList('a:admin a:read a:write');
  return {
    ...{ kind: 'cell', issuer: 'i', kid: 'k', subject: account, audience: td, clientId: 'c', id: 'jti' },
    ...{ issuedAt: 0, expiresAt: 1, scopes, account, claims: {}, text: new Secret('t') },
    ...changed,
  };
}

function asking(changed: Partial<Omit<InboundRequest, 'path'>> & { path?: string } = {}): InboundRequest {
  const { path = '/x', ...rest } = changed;
  return {
    ...{ peer: workloadId(td, 'shop', 'two'), isRouter: false, port: 8080, method: 'GET', token: tokenOf() },
    ...{ left: parseScopeList('a:admin a:read a:write'), nowMs: noon },
    ...rest,
    path: parseCanonicalPath(path),
  };
}

/** `permit <rule>`, or the reason. */
function saidOf(snapshot: PolicySnapshot, request: InboundRequest, budgets?: Budgets): string {
  const decision = new InboundPolicy(snapshot).decide(request, budgets);
  return decision.outcome === 'permit' ? `permit ${decision.rule}` : decision.reason;
}

describe('a rule', () => {
  test('for a pattern of SPIFFE IDs allows those that declare the call, segment by segment', () => {
    const snapshot = cellWith({ allow: `    - { name: r, from: ["spiffe://cell-1.example/ns/*/sa/two"] }` });
    const from = (namespace: string, name: string) => asking({ peer: workloadId(td, namespace, name) });
    assert.equal(saidOf(snapshot, from('shop', 'two')), 'permit r');
    assert.equal(saidOf(snapshot, from('shop', 'three')), 'peer_not_allowed');
    assert.equal(saidOf(snapshot, from('other', 'two')), 'peer_not_declared');
    const router = parseSpiffeId('spiffe://example/ns/shop/sa/two');
    assert.equal(saidOf(snapshot, asking({ peer: router, isRouter: true, left: undefined })), 'peer_not_allowed');
  });

  test('for methods of gRPC is for its port, POST, and nothing beside the method', () => {
    const allow = `    - { name: r, from: [shop/two], grpc: { methods: [a.B/C, "a.D/*"] } }`;
    const call = (path: string, changed = {}) =>
      saidOf(cellWith({ allow }), asking({ path, method: 'POST', port: 9090, ...changed }));
    assert.equal(call('/a.B/C'), 'permit r');
    assert.equal(call('/a.D/anything'), 'permit r');
    assert.equal(call('/a.B/D'), 'route_not_allowed');
    assert.equal(call('/a.B/C', { method: 'GET' }), 'route_not_allowed');
    assert.equal(call('/a.B/C', { port: 8080 }), 'route_not_allowed');
  });

  test('with `anyScope` needs one of them, beside all of `scopes`', () => {
    const allow = `    - { name: r, from: [shop/two], scopes: [a:read], anyScope: [a:write, a:admin] }`;
    const holding = (left: string) => saidOf(cellWith({ allow }), asking({ left: parseScopeList(left) }));
    assert.equal(holding('a:read a:write'), 'permit r');
    assert.equal(holding('a:read'), 'scope_not_carried');
    assert.equal(holding('a:write'), 'scope_not_carried');
    const token = tokenOf({ scopes: parseScopeList('a:read') });
    assert.equal(saidOf(cellWith({ allow }), asking({ token })), 'scope_missing');
  });

  test('with `actor` looks at who acts for the customer', () => {
    const by = (actor: string, who: string | undefined) => {
      const allow = `    - { name: r, from: [shop/two], actor: ${actor} }`;
      return saidOf(cellWith({ allow }), asking({ token: tokenOf(who === undefined ? {} : { actor: who }) }));
    };
    assert.deepEqual(
      ['none', 'required', '[bot, helper]'].map((actor) => by(actor, 'bot')),
      ['actor_not_allowed', 'permit r', 'permit r'],
    );
    assert.equal(by('[bot]', 'other'), 'actor_not_allowed');
    assert.equal(by('none', undefined), 'permit r');
    assert.equal(by('required', undefined), 'actor_not_allowed');
  });

  test('with `until` ends at that moment', () => {
    const snapshot = cellWith({ allow: `    - { name: r, from: [shop/two], until: "2026-11-28T12:00:00Z" }` });
    assert.equal(saidOf(snapshot, asking({ nowMs: noon - 1 })), 'permit r');
    assert.equal(saidOf(snapshot, asking({ nowMs: noon })), 'rule_expired');
  });

  test('with `claims` needs all of them, and a token', () => {
    const allow = `    - name: r
      from: [shop/two]
      account: none
      claims: [{ pointer: /plan, equals: gold }, { pointer: /roles, as: list, in: [a, b] }]`;
    const holding = (claims: Record<string, unknown>) =>
      saidOf(cellWith({ allow }), asking({ token: tokenOf({ claims }) }));
    assert.equal(holding({ plan: 'gold', roles: ['x', 'b'] }), 'permit r');
    assert.equal(holding({ plan: 'gold', roles: 'b' }), 'claim_not_allowed');
    assert.equal(holding({ plan: ['gold'], roles: ['b'] }), 'claim_not_allowed');
    assert.equal(saidOf(cellWith({ allow }), asking({ token: undefined, left: undefined })), 'claim_not_allowed');
  });

  test('at its limit leaves the request to the next that allows it; when all are, it is 429 with the shortest wait', () => {
    const allow = `    - { name: small, from: [shop/two], limits: [{ per: account, perSecond: 1 }] }
    - { name: large, from: [shop/two], limits: [{ per: peer, perSecond: 5 }] }`;
    const policy = new InboundPolicy(cellWith({ allow }));
    const asked: string[] = [];
    const waiting = (waits: Record<string, number>): Budgets => ({
      take: ({ name }) => {
        asked.push(name);
        return waits[name]!;
      },
    });
    const decide = (waits: Record<string, number>) => policy.decide(asking(), waiting(waits));
    const ruleOf = (decision: ReturnType<typeof decide>) => (decision.outcome === 'permit' ? decision.rule : undefined);
    assert.equal(ruleOf(decide({ small: 0, large: 0 })), 'small');
    assert.equal(ruleOf(decide({ small: 9, large: 0 })), 'large');
    const denial = decide({ small: 700, large: 200 });
    assert.ok(denial.outcome === 'deny');
    assert.deepEqual([denial.reason, denial.retryAfterMs, denial.failed.rule], ['limit_reached', 200, 'small']);
    assert.deepEqual(asked, ['small', 'small', 'large', 'small', 'large']);
    assert.equal(
      ruleOf(policy.decide(asking()) as ReturnType<typeof decide>),
      'small',
      'nobody counts what is open already',
    );
  });

  for (const [allow, said] of [
    [
      '{ name: r, from: [shop/two], grpc: { methods: [a.B/C] }, http: { methods: [GET] } }',
      /about `http` or about `grpc`/,
    ],
    ['{ name: r, from: [shop/two], grpc: { methods: [a.B/C] }, port: 8080 }', /port 8080 is not grpc/],
    [
      '{ name: r, from: [shop/two], account: none, limits: [{ per: account, perSecond: 1 }] }',
      /needs `account: required`/,
    ],
    [
      '{ name: r, from: [shop/two], claims: [{ pointer: /a, claim: sub, equals: 1 }] }',
      /either a `claim` or a `pointer`/,
    ],
    ['{ name: r, from: [shop/two], claims: [{ pointer: /a }] }', /one of `equals`, `in` and `exists`/],
    ['{ name: r, from: [shop/two], claims: [{ pointer: /a, exists: true, as: list }] }', /`exists` is not read `as`/],
    ['{ name: r, from: [shop/two], claims: [{ pointer: a, equals: 1 }] }', /no JSON pointer/],
    ['{ name: r, from: ["spiffe://*/ns/a"] }', /stands for a whole segment of the path/],
    ['{ name: r, from: ["spiffe://cell-2.example/**"] }', /not of this cell/],
    ['{ name: r, from: [shop/two], anyScope: [b:read] }', /b:read is not in the catalogue/],
    ['{ name: r, from: [shop/two], until: tomorrow }', /no moment in UTC/],
  ] as const) {
    test(`is refused: ${allow.slice(10)}`, () => {
      assert.throws(
        () => cellWith({ allow: `    - ${allow}` }),
        (error) => isCellmeshError(error, 'document_invalid') && error.problems.some((problem) => said.test(problem)),
      );
    });
  }
});

describe('a condition on a claim', () => {
  const cases: readonly [Omit<ClaimCondition, 'pointer'>, unknown, boolean][] = [
    [{ as: 'value', anyOf: ['1'] }, 1, false],
    [{ as: 'value', anyOf: [1] }, 1, true],
    [{ as: 'value', anyOf: [true] }, 'true', false],
    [{ as: 'list', anyOf: ['a'] }, [['a']], false],
    [{ as: 'list', anyOf: ['a'] }, ['b', 'a'], true],
    [{ as: 'list', anyOf: ['a'] }, 'a', false],
    [{ as: 'words', anyOf: ['a'] }, 'b a c', true],
    [{ as: 'words', anyOf: ['a'] }, 'ab', false],
    [{ as: 'words', anyOf: [''] }, 'b  c', false],
    [{ as: 'words', anyOf: ['a'] }, ['a'], false],
    [{ as: 'value', exists: true }, '', true],
    [{ as: 'value', exists: true }, undefined, false],
    [{ as: 'value', exists: false }, undefined, true],
  ];
  for (const [condition, value, holds] of cases) {
    test(`${JSON.stringify(condition)} ${holds ? 'holds' : 'does not hold'} for ${JSON.stringify(value)}`, () =>
      assert.equal(matchesClaim({ pointer: '/x', ...condition }, value), holds));
  }

  test('finds what stands at a pointer, and nothing that is inherited', () => {
    const claims = JSON.parse('{"a":{"b/c":{"~d":[1,2]}},"n":null,"__proto__":{"x":1}}');
    const at = (pointer: string) => valueAt(claims, parsePointer(pointer).steps);
    assert.deepEqual(at('/a/b~1c/~0d'), [1, 2]);
    assert.equal(at('/a/b~1c/~0d/1'), 2);
    assert.deepEqual(
      [at('/n'), at('/toString'), at('/a/constructor'), at('/a/b~1c/~0d/length')],
      [undefined, undefined, undefined, 2],
    );
  });
});

describe('a ceiling', () => {
  test('cuts what callers carry and have as their own, and what routers bring', () => {
    const cell = `  ceiling:
    - { from: shop/*, to: shop/one, scopes: [a:read, a:admin] }
    - { from: any, to: any, scopes: [a:read] }
    - { from: router, to: shop/one, scopes: [a:write] }`;
    const snapshot = cellWith({ allow: '    - { name: r, from: [shop/two, router] }', cell });
    const [two, three] = snapshot.callers;
    assert.deepEqual([two!.carry, two!.own, three!.carry], [['a:read'], ['a:read'], ['a:read']]);
    const policy = new InboundPolicy(snapshot);
    assert.equal(policy.grantedTo(asking()).text, 'a:read');
    const router = parseSpiffeId('spiffe://example/router/r1');
    assert.equal(policy.grantedTo(asking({ peer: router, isRouter: true, left: undefined })).text, 'a:write');
  });
});

describe('a candidate', () => {
  const allow = '    - { name: old, from: [shop/two, shop/three] }';
  const rollout = (percent: number, mode = 'enforce') => `  mode: ${mode}
  ports: [{ port: 8080, protocol: http }, { port: 9090, protocol: grpc }]
  rollout: { percent: ${percent}, newlyDeniedMax: 1% }
  allow:
    - { name: new, from: [shop/two] }`;
  const decide = (candidate: string, from: string) =>
    new InboundPolicy(cellWith({ allow, candidate })).decide(asking({ peer: workloadId(td, 'shop', from) }));

  test('is asked about every request, and counts for the accounts of its share', () => {
    const beside = decide(rollout(0), 'three');
    assert.equal(beside.outcome, 'permit');
    assert.deepEqual(
      { ...beside.candidate, version: '' },
      {
        version: '',
        isInForce: false,
        before: 'permit',
        outcome: 'deny',
        reason: 'peer_not_allowed',
      },
    );
    const inForce = decide(rollout(100), 'three');
    assert.deepEqual([inForce.outcome, inForce.candidate?.isInForce], ['deny', true]);
    assert.equal(decide(rollout(100), 'two').outcome, 'permit');
  });

  test('in audit denies nothing, and says what it would', () => {
    const audited = decide(rollout(100, 'audit'), 'three');
    assert.deepEqual([audited.outcome, audited.candidate?.outcome], ['permit', 'deny']);
  });

  test('is for the same accounts with a larger share, and for that share of them', () => {
    const accounts = Array.from({ length: 20_000 }, (_, at) =>
      parseAccountId(`AC${(at * 2_654_435_761).toString(16).padStart(32, '0')}`),
    );
    const at = (percent: number) => accounts.filter((one) => isInRollout(one, percent));
    const ten = at(10);
    assert.ok(ten.length > 1_800 && ten.length < 2_200, `${ten.length}`);
    const twenty = new Set(at(20));
    assert.ok(ten.every((one) => twenty.has(one)));
    assert.deepEqual(
      [at(0).length, at(100).length, isInRollout(undefined, 99.99), isInRollout(undefined, 100)],
      [0, 20_000, false, true],
    );
  });

  test('has another version with other rules, and the same with another share', () => {
    const versionOf = (candidate: string) => cellWith({ allow, candidate }).candidate!.version;
    assert.equal(versionOf(rollout(1)), versionOf(rollout(50)));
    assert.notEqual(versionOf(rollout(1)), versionOf(rollout(1).replace('shop/two', 'shop/three')));
  });

  test('has a version of its own where another service has the same rules: one is not withdrawn for the other', () => {
    const both = (name: string) => {
      const rules = 'allow: [{ name: r, from: [shop/two] }]';
      const rolled = 'rollout: { percent: 0, newlyDeniedMax: 1% }';
      return ['', `  ${rolled}`].map(
        (more) => `---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: ${name}, namespace: shop }
spec:
  serviceAccount: ${name}
  mode: enforce
  ports: [{ port: 1, protocol: http }]
  ${rules}
${more}
`,
      );
    };
    const cell = `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec: { trustDomain: cell-1.example, domain: example, tokenIssuer: "https://identity.example", scopes: {} }
`;
    const { cells, policies } = readDocuments([cell, ...both('one'), ...both('two')].join(''), 'cell.yaml');
    const [one, two] = compileCell(cells[0]!, policies).candidates;
    assert.notEqual(one!.version, two!.version);
  });

  for (const [candidate, said] of [
    [rollout(10).replace('9090, protocol: grpc', '9091, protocol: grpc'), /`ports` differs/],
    [`${rollout(10)}\n  calls: [{ to: shop/two }]`, /`calls` differs/],
  ] as const) {
    test(`is refused where more than rules changes: ${said}`, () => {
      assert.throws(
        () => cellWith({ allow, candidate }),
        (error) => isCellmeshError(error, 'document_invalid') && said.test(error.problems[0]!),
      );
    });
  }
});

describe('what a receiver must be able to do', () => {
  test('is what the snapshot uses, and this version can all of it', () => {
    const plain = cellWith({ allow: '    - { name: r, from: [shop/two], scopes: [a:read] }' });
    assert.deepEqual(requiredFeatures(plain), []);
    const every = cellWith({
      allow: `    - { name: u, from: [unmeshed], account: none }
    - { name: r, from: ["spiffe://cell-1.example/**"], anyScope: [a:read], actor: none, until: "2030-01-01T00:00:00Z", claims: [{ claim: sub, equals: x }], limits: [{ per: rule, perSecond: 1 }] }
  inbound: { mode: observe-plaintext, until: 2030-01-01T00:00:00Z }`,
      cell: '  ceiling: [{ from: router, to: any, scopes: [a:read] }]',
      candidate: `  mode: enforce
  ports: [{ port: 8080, protocol: http }, { port: 9090, protocol: grpc }]
  rollout: { percent: 0, newlyDeniedMax: 1% }`,
    });
    assert.deepEqual(new Set(requiredFeatures(every)), new Set(policyFeatures));
  });
});
