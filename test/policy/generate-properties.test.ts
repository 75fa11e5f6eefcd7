import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { compileCell } from '#policy/compile.ts';
import { InboundPolicy } from '#policy/decide-inbound.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { manifestYaml } from '#policy/generate/manifest-yaml.ts';
import { manifestsOf } from '#policy/generate/manifests-of.ts';
import { Seen } from '#policy/generate/seen.ts';
import { CellPolicies } from '#policy/plan/cell-policies.ts';
import { type Plan, Planner } from '#policy/plan/plan.ts';
import { readManifests } from '#policy/read-manifests.ts';
import type { PolicySnapshot } from '#policy/snapshot.ts';
import { decidedRecord } from '../support/decided-record.ts';
import { request, router, rules, snapshotOf } from './random-policy.ts';

const cell = `
apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1 }
spec:
  trustDomain: cell-1.example
  domain: example
  tokenIssuer: https://i
  scopes: { "m:read": S., "m:write": S., "d:read": S. }
`;

const snapshots = fc
  .tuple(snapshotOf(rules()), fc.constantFrom('audit' as const, 'enforce' as const))
  .map(([snapshot, mode]): PolicySnapshot => ({ ...snapshot, mode }));
const requests = fc.array(
  request.filter(({ port }) => port < 3),
  { minLength: 1, maxLength: 30 },
);

/** Customers come to the callers from the edge, with all scopes that there are. */
const entries = ['a', 'b', 'c'].map((name): DecisionRecord => {
  const scope = 'd:read m:read m:write';
  return {
    ...{ schema: 2, id: `entry.${name}`, time: '1970-01-01T00:00:00.000Z', instance: 'entry', status: 200 },
    ...{
      direction: 'inbound',
      outcome: 'permit',
      service: `ns/${name}`,
      peer: router,
      port: 1,
      method: 'GET',
      path: '/',
    },
    claims: { kind: 'cell', subject: 's', clientId: router, tokenId: 'jti', scope },
    granted: scope,
  };
});

function todays(snapshot: PolicySnapshot): CellPolicies {
  const { version, service } = snapshot;
  return new CellPolicies({
    ...{ version, snapshots: new Map([[service.id, snapshot]]) },
    routes: { version, cellId: snapshot.cell.id, routes: [] },
  });
}

/** As text, and read again. */
function generated(
  records: readonly DecisionRecord[],
  today: CellPolicies | undefined,
): { yaml: string; policies: CellPolicies } {
  const seen = new Seen(today);
  for (const record of records) seen.add(record);
  assert.equal(seen.counts.leftOut, 0);
  const yaml = manifestsOf(seen, new Map()).map((one) => manifestYaml(one, ['Generated.']));
  // What is seen of callers is only what they ask: what `up` and an operator add is not needed here.
  const manifests = readManifests(new Map([['all.yaml', [cell, ...yaml].join('---\n')]]));
  const enforced = manifests.policies.map((policy) => ({ ...policy, mode: 'enforce' as const }));
  return { yaml: yaml.join('---\n'), policies: new CellPolicies(compileCell(manifests.cell, enforced)) };
}

function planOf(records: readonly DecisionRecord[], policies: CellPolicies, inForce?: CellPolicies): Plan {
  const planner = new Planner(policies);
  for (const record of records) planner.add(record, inForce);
  return planner.plan();
}

describe('generated manifests', () => {
  for (const isKnown of [true, false]) {
    test(`allow all that was seen, ${isKnown ? 'by rules that are known' : 'whatever rules it was allowed by'}`, () => {
      let allowed = 0;
      fc.assert(
        fc.property(snapshots, requests, (snapshot, asked) => {
          const policy = new InboundPolicy(snapshot);
          // Callers without TLS are left out: whom to hear without proof is for people to say.
          const meshed = asked.filter(({ peer }) => peer !== 'unmeshed');
          const records = [...entries, ...meshed.map((one, n) => decidedRecord(policy, one, n))];
          allowed += records.filter(({ outcome }) => outcome === 'permit').length;
          const { policies, yaml } = generated(records, isKnown ? todays(snapshot) : undefined);
          const plan = planOf(records, policies);
          assert.equal(plan.newlyDenied.decisions, 0, `${JSON.stringify(plan.groups, undefined, 1)}\n${yaml}`);
          assert.equal(plan.unreadable, 0);
        }),
        { numRuns: 400 },
      );
      assert.ok(allowed > 400, `only ${allowed} requests were allowed`);
    });
  }
});
