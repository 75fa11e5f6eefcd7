import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseSpiffeId, parseTrustDomain, type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import { parseCanonicalPath } from '#policy/canonical-path.ts';
import { compileCell } from '#policy/compile.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { CellPolicies } from '#policy/plan/cell-policies.ts';
import { Planner } from '#policy/plan/plan.ts';
import { readManifests } from '#policy/read-manifests.ts';
import type { InboundRequest } from '#policy/rule.ts';
import { Secret } from '#runtime/secret.ts';
import { parseAccountId } from '#tokens/account-id.ts';
import { parseScope, ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import { decidedRecord } from '../support/decided-record.ts';

/** Random cells of a few services, requests that go from one to the next, and what a plan says of the records of each hop. */
const trustDomain = parseTrustDomain('cell-1.example');
const router = parseSpiffeId('spiffe://example/router/eu/r1');
const services = ['a', 'b', 'c', 'd'] as const;
const scopes = ['x:r', 'y:r', 'z:r'] as const;
const someScopes = fc.subarray([...scopes]);

interface Node {
  readonly fromRouter: boolean;
  /** What a rule for everybody needs. */
  readonly needs: readonly string[];
  /** To services that come later: no customer goes in circles. Absent: not called; `all`: no `carry`. */
  readonly calls: Readonly<Record<string, readonly string[] | 'all' | undefined>>;
}

type Graph = Readonly<Record<(typeof services)[number], Node>>;

const call = fc.oneof(
  { weight: 1, arbitrary: fc.constant(undefined) },
  { weight: 2, arbitrary: fc.constant('all' as const) },
  { weight: 4, arbitrary: fc.subarray([...scopes], { minLength: 1 }) },
);
const node = (at: number): fc.Arbitrary<Node> =>
  fc.record({
    fromRouter: fc.constant(at === 0).chain((first) => (first ? fc.constant(true) : fc.boolean())),
    needs: fc.subarray([...scopes], { maxLength: 1 }),
    calls: fc.record(Object.fromEntries(services.slice(at + 1).map((name) => [name, call]))),
  });
const graph: fc.Arbitrary<Graph> = fc.record({ a: node(0), b: node(1), c: node(2), d: node(3) });

/** A graph, and one in which some of its nodes are otherwise. */
const pair = fc
  .tuple(graph, graph, fc.subarray([...services]))
  .map(
    ([before, other, changed]) =>
      [before, { ...before, ...Object.fromEntries(changed.map((name) => [name, other[name]])) }] as const,
  );

function compiled(of: Graph): CellPolicies {
  const cell = `
apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec: { trustDomain: cell-1.example, domain: example, tokenIssuer: https://i, scopes: { ${scopes.map((one) => `"${one}": S.`).join(', ')} } }
`;
  const policies = services.map((name) => {
    const { fromRouter, needs, calls } = of[name];
    const callers = services.filter((other) => of[other].calls[name] !== undefined).map((other) => `ns/${other}`);
    const from = [...callers, ...(fromRouter ? ['router'] : [])];
    const allow = from.length === 0 ? '' : `allow: [{ name: all, from: [${from}], scopes: [${needs}] }]`;
    const declared = Object.entries(calls)
      .filter(([, carry]) => carry !== undefined)
      .map(([to, carry]) => `{ to: ns/${to}${carry === 'all' ? '' : `, carry: [${carry}]`} }`);
    return `
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: ${name}, namespace: ns }
spec:
  serviceAccount: ${name}
  mode: enforce
  ports: [{ port: 80, protocol: http }]
  ${allow}
  calls: [${declared}]
`;
  });
  const manifests = readManifests(new Map([['all.yaml', [cell, ...policies].join('---')]]));
  return new CellPolicies(compileCell(manifests.cell, manifests.policies));
}

function tokenOf(held: ScopeSet): VerifiedToken {
  return {
    ...{ kind: 'cell', issuer: 'https://i', kid: 'k', subject: 's', audience: trustDomain, clientId: router },
    ...{ id: 'jti', issuedAt: 0, expiresAt: 1, scopes: held, claims: {}, text: new Secret('t') },
    account: parseAccountId(`AC${'0'.repeat(32)}`),
  };
}

/** What happens to a customer's request on its way: the record of each hop, up to one that refuses it or does not call on. */
function travel(policies: CellPolicies, way: readonly string[], token: VerifiedToken): DecisionRecord[] {
  const records: DecisionRecord[] = [];
  let peer: SpiffeId = router;
  let left: ScopeSet | undefined;
  for (const name of way) {
    const to = workloadId(trustDomain, 'ns', name);
    const call = peer === router ? undefined : policies.call(peer, to);
    if (peer !== router && call === undefined) break;
    if (left !== undefined && call?.carry !== undefined) left = left.intersect(ScopeSet.of(call.carry));
    const asked: InboundRequest = {
      ...{ peer, isRouter: peer === router, port: 80, method: 'GET', path: parseCanonicalPath('/'), token, nowMs: 0 },
      left: peer === router ? undefined : left,
    };
    const policy = policies.inbound(`ns/${name}`)!;
    const record = decidedRecord(policy, asked);
    records.push(record);
    if (record.outcome === 'deny') break;
    left = policy.grantedTo(asked);
    peer = to;
  }
  return records;
}

test('a plan of each hop agrees with what requests meet on their way through the new manifests, or says that it cannot know', () => {
  const seen = { same: 0, newlyDenied: 0, newlyAllowed: 0, unknown: 0 };
  fc.assert(
    fc.property(
      pair,
      fc.subarray([...services], { minLength: 1 }),
      someScopes,
      fc.boolean(),
      ([old, next], way, held, isKnown) => {
        const token = tokenOf(ScopeSet.of(held.map(parseScope)));
        const [before, after] = [compiled(old), compiled(next)];
        const now = travel(after, way, token);
        for (const [hop, record] of travel(before, way, token).entries()) {
          const planner = new Planner(after);
          planner.add(record, isKnown ? before : undefined);
          const { newlyDenied, newlyAllowed, unknown } = planner.plan();
          const then = now[hop];
          if (unknown.decisions > 0) {
            seen.unknown++;
            continue;
          }
          // Refused on the way already, or never called: then that is where it is reported.
          if (then === undefined) continue;
          const said = newlyDenied.decisions > 0 ? 'newlyDenied' : newlyAllowed.decisions > 0 ? 'newlyAllowed' : 'same';
          // Without the manifests of then, what happened before the caller is taken to be as it was.
          if (!isKnown && said === 'same') continue;
          const isSame = record.outcome === then.outcome;
          assert.equal(said, isSame ? 'same' : then.outcome === 'deny' ? 'newlyDenied' : 'newlyAllowed');
          seen[said]++;
        }
      },
    ),
    { numRuns: 600 },
  );
  assert.ok(Math.min(seen.same, seen.newlyAllowed, seen.newlyDenied) > 20, JSON.stringify(seen));
  assert.ok(seen.unknown < seen.same / 5, JSON.stringify(seen));
});
