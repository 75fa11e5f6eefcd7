import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseSpiffeId, type SpiffeId } from '#certs/spiffe-id.ts';
import { parseCanonicalPath } from '#policy/canonical-path.ts';
import { compileCell } from '#policy/compile.ts';
import { InboundPolicy } from '#policy/decide-inbound.ts';
import { lint } from '#policy/lint/lint.ts';
import { ReachableScopes } from '#policy/reachable-scopes.ts';
import { readManifests } from '#policy/read-manifests.ts';
import { Secret } from '#runtime/secret.ts';
import { parseAccountId } from '#tokens/account-id.ts';
import { parseScope, ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';

const names = ['a', 'b', 'c', 'd'];
const catalogue = ['s:one', 's:two', 's:three'];
const some = (of: readonly string[]) => fc.uniqueArray(fc.constantFrom(...of), { maxLength: of.length });
const rarely = <T>(of: fc.Arbitrary<T>) => fc.option(of, { freq: 2, nil: undefined });

const rule = fc.record({
  from: fc.uniqueArray(fc.constantFrom('router', 'any', ...names.map((name) => `n/${name}`)), { minLength: 1 }),
  scopes: some(catalogue),
  anyScope: rarely(fc.constantFrom(['s:one', 's:two'])),
  account: fc.constantFrom('required', 'required', 'none'),
});
const call = fc.record({
  carry: rarely(some(catalogue)),
  own: some(catalogue),
  token: fc.constantFrom('propagate', 'propagate', 'none'),
});
const service = fc.record({
  mode: fc.constantFrom('enforce', 'enforce', 'enforce', 'audit'),
  auth: rarely(fc.constantFrom('required', 'required', 'none')),
  allow: fc.array(rule, { maxLength: 3 }),
  calls: fc.array(rarely(call), { minLength: names.length, maxLength: names.length }),
});
const ceiling = fc.array(
  fc.record({
    from: fc.constantFrom('router', 'any', 'n/a'),
    to: fc.constantFrom('any', 'n/b'),
    scopes: some(catalogue),
  }),
  { maxLength: 2 },
);

/** YAML takes JSON. */
const cellText = fc.tuple(fc.tuple(...names.map(() => service)), ceiling).map(([services, entries]) => {
  const apiVersion = 'cellmesh.io/v1alpha1';
  const scopes = Object.fromEntries(catalogue.map((scope) => [scope, 'A scope.']));
  const spec = { trustDomain: 'cell-1.example', domain: 'example', tokenIssuer: 'https://i', scopes, ceiling: entries };
  const policies = services.map(({ mode, auth, allow, calls }, at) => {
    const name = names[at]!;
    const ports = [{ port: 80, protocol: 'http' }];
    return {
      apiVersion,
      kind: 'ServicePolicy',
      metadata: { name, namespace: 'n' },
      spec: {
        serviceAccount: name,
        mode,
        ports,
        expose: auth === undefined ? [] : [{ hosts: [`${name}.example`], paths: ['/**'], auth }],
        allow: allow.map((one, index) => ({ name: `r${index}`, ...one })),
        calls: calls.flatMap((one, to) => (one === undefined ? [] : [{ to: `n/${names[to]}`, ...one }])),
      },
    };
  });
  const cell = { apiVersion, kind: 'Cell', metadata: { name: 'cell-1' }, spec };
  return [cell, ...policies].map((document) => JSON.stringify(document)).join('\n---\n');
});

const router = parseSpiffeId('spiffe://example/router/r1');
const request = { port: 80, method: 'GET', path: parseCanonicalPath('/x'), nowMs: 0 };

function tokenOf(scopes: ScopeSet): VerifiedToken {
  return {
    kind: 'cell',
    issuer: 'https://i',
    kid: 'k',
    subject: 's',
    audience: 'cell-1.example',
    clientId: router,
    id: 'jti',
    issuedAt: 0,
    expiresAt: 1,
    scopes,
    account: parseAccountId(`AC${'0'.repeat(32)}`),
    claims: {},
    text: new Secret('t'),
  } as unknown as VerifiedToken;
}

interface Walk {
  /** What was left at services, of whichever token. */
  readonly left: readonly (readonly [SpiffeId, ScopeSet])[];
  /** `n/a r0`: rules that allowed something. */
  readonly allowed: ReadonlySet<string>;
}

/** Sends everything from everywhere: each set of scopes from routers, and from each service on to all that it calls. */
function walk(policies: ReadonlyMap<SpiffeId, InboundPolicy>, auth: ReadonlyMap<SpiffeId, string>): Walk {
  const left = new Map<string, readonly [SpiffeId, ScopeSet, VerifiedToken]>();
  const allowed = new Set<string>();
  const enter = (to: SpiffeId, peer: SpiffeId, token?: VerifiedToken, remaining?: ScopeSet) => {
    const policy = policies.get(to)!;
    const decision = policy.decide({ ...request, peer, isRouter: peer === router, token, left: remaining });
    if (decision.outcome === 'deny') return;
    if (decision.rule !== undefined) allowed.add(`${policy.snapshot.service.name} ${decision.rule}`);
    if (token === undefined) return;
    const key = `${to} ${token.scopes.text} ${decision.granted.text}`;
    if (left.has(key)) return;
    left.set(key, [to, decision.granted, token]);
    for (const { id, carry, token: how } of policy.snapshot.calls) {
      const carried = carry === undefined ? decision.granted : decision.granted.intersect(ScopeSet.of(carry));
      if (how === 'propagate') enter(id, to, token, carried);
    }
  };
  for (const [id, { snapshot }] of policies) {
    for (const { id: callee } of snapshot.calls) enter(callee, id);
    if (auth.get(id) === 'none') enter(id, router);
    if (auth.get(id) !== 'required') continue;
    for (let bits = 0; bits < 8; bits++)
      enter(id, router, tokenOf(ScopeSet.of(catalogue.filter((_, at) => bits & (1 << at)).map(parseScope))));
  }
  return { left: [...left.values()].map(([id, scopes]) => [id, scopes]), allowed };
}

test('what is said never to come never does, whatever is sent through a cell', () => {
  let unsatisfiable = 0;
  let reached = 0;
  fc.assert(
    fc.property(cellText, (text) => {
      const { cell, policies } = readManifests(new Map([['m.yaml', text]]));
      const compiled = compileCell(cell, policies);
      const reachable = new ReachableScopes(cell, compiled);
      const inbound = new Map([...compiled.snapshots].map(([id, snapshot]) => [id, new InboundPolicy(snapshot)]));
      const { left, allowed } = walk(inbound, new Map(compiled.routes.routes.map(({ id, auth }) => [id, auth])));
      for (const [id, scopes] of left) assert.ok(scopes.isSubsetOf(reachable.heldAt(id)!), `${scopes.text} at ${id}`);
      const useless = /^rule (\S+) (needs|is for routers)/;
      const findings = lint(new Map([['m.yaml', text]]), { nowMs: 0, expiresWithinMs: 0 }).findings;
      for (const { rule: found, message, line } of findings.filter((one) => one.rule === 'rule-unsatisfiable')) {
        const policy = policies.find(({ at }) => at.line === line)!;
        const name = `n/${policy.serviceAccount} ${useless.exec(message)![1]}`;
        assert.ok(!allowed.has(name), `${found}: ${name} allowed something`);
        unsatisfiable++;
      }
      reached += left.length;
    }),
    { numRuns: 300 },
  );
  assert.ok(
    unsatisfiable > 60 && reached > 600,
    `${unsatisfiable} rules, ${reached} arrivals: too few to say anything`,
  );
});

test('what can come does, where there is one way to each service', () => {
  const { cell, policies } = readManifests(new Map([['m.yaml', oneWay]]));
  const compiled = compileCell(cell, policies);
  const reachable = new ReachableScopes(cell, compiled);
  const held = [...compiled.snapshots].map(
    ([
      id,
      {
        service: { name },
      },
    ]) => [name, reachable.heldAt(id)?.text],
  );
  assert.deepEqual(Object.fromEntries(held), { 'n/a': 's:one s:two', 'n/b': 's:two', 'n/c': '', 'n/d': undefined });
});

const document = (name: string, spec: string) =>
  `---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: ${name}, namespace: n }
spec: { serviceAccount: ${name}, mode: enforce, ports: [{ port: 80, protocol: http }], ${spec} }
`;
const oneWay = [
  `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.example
  domain: example
  tokenIssuer: https://i
  scopes: { s:one: A., s:two: B., s:three: C. }
  ceiling: [{ from: router, to: any, scopes: [s:one, s:two] }]
`,
  document(
    'a',
    'expose: [{ hosts: [a.example], paths: ["/**"], auth: required }], allow: [{ name: r, from: [router] }], calls: [{ to: n/b, carry: [s:two, s:three] }]',
  ),
  document('b', 'allow: [{ name: r, from: [n/a], scopes: [s:two] }], calls: [{ to: n/c, carry: [s:one] }]'),
  document('c', 'allow: [{ name: r, from: [n/b] }], calls: [{ to: n/d, token: none, own: [s:one] }]'),
  document('d', 'allow: [{ name: r, from: [n/c], account: none }]'),
].join('');
