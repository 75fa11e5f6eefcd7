import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { InboundPolicy } from '#policy/decide-inbound.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { parsePathPattern } from '#policy/path-pattern.ts';
import { CellPolicies } from '#policy/plan/cell-policies.ts';
import { type Plan, Planner } from '#policy/plan/plan.ts';
import type { InboundRequest } from '#policy/rule.ts';
import type { PolicySnapshot, SnapshotRule } from '#policy/snapshot.ts';
import { decidedRecord } from '../support/decided-record.ts';
import { request, rules, snapshotOf } from './random-policy.ts';

const runs = { numRuns: 2_000 };

/** Requests of which there are records: those for ports that the service has. */
const requests = fc.array(
  request.filter(({ port }) => port < 3),
  { minLength: 1, maxLength: 20 },
);

function policiesOf(snapshot: PolicySnapshot, version = 'v1'): CellPolicies {
  const { cell, service } = snapshot;
  const routes = { version, cellId: cell.id, routes: [] };
  return new CellPolicies({ version, snapshots: new Map([[service.id, { ...snapshot, version }]]), routes });
}

function recordsOf(snapshot: PolicySnapshot, asked: readonly InboundRequest[]): DecisionRecord[] {
  const policy = new InboundPolicy(snapshot);
  return asked.map((one, n) => decidedRecord(policy, one, n));
}

interface Changed {
  readonly from: PolicySnapshot | undefined;
  readonly to: PolicySnapshot;
  readonly isDecidedAgain?: boolean;
}

function planOf(records: readonly DecisionRecord[], { from, to, isDecidedAgain = false }: Changed): Plan {
  const before = from && policiesOf(from);
  const planner = new Planner(policiesOf(to, 'v2'), isDecidedAgain ? before : undefined);
  for (const record of records) planner.add(record, before);
  return planner.plan();
}

function totals({ newlyDenied, newlyAllowed, unknown, unreadable }: Plan) {
  const [denied, allowed, open] = [newlyDenied, newlyAllowed, unknown].map(({ decisions }) => decisions);
  return { denied, allowed, open, unreadable };
}

const nothing = { denied: 0, allowed: 0, open: 0, unreadable: 0 };

const mode = fc.constantFrom('audit' as const, 'enforce' as const);
const snapshots = fc.tuple(snapshotOf(rules()), mode).map(([snapshot, mode]) => ({ ...snapshot, mode }));

/** It is tried and holds for nothing that is asked. */
const idle: SnapshotRule = {
  ...{ name: 'idle', ids: [], idPatterns: [], isRouterAllowed: true, isAnyAllowed: true, isUnmeshedAllowed: false },
  ...{ paths: [parsePathPattern('/never')], scopes: [], account: 'none', claims: [], limits: [], sensitive: false },
};

describe('a plan', () => {
  test('on identical manifests is empty', () => {
    fc.assert(
      fc.property(snapshots, requests, fc.boolean(), (snapshot, asked, isDecidedAgain) => {
        const plan = planOf(recordsOf(snapshot, asked), { from: snapshot, to: snapshot, isDecidedAgain });
        assert.deepEqual(totals(plan), nothing);
        assert.equal(plan.decisions, asked.length);
      }),
      runs,
    );
  });

  test('on manifests with a rule more that allows nothing is empty, though every request is decided again', () => {
    fc.assert(
      fc.property(snapshots, requests, fc.boolean(), (snapshot, asked, isDecidedAgain) => {
        const to = { ...snapshot, rules: [...snapshot.rules, idle] };
        assert.deepEqual(totals(planOf(recordsOf(snapshot, asked), { from: snapshot, to, isDecidedAgain })), nothing);
      }),
      runs,
    );
  });

  test('says of every request what the new manifests then say', () => {
    let changed = 0;
    fc.assert(
      fc.property(snapshots, snapshots, requests, (from, other, asked) => {
        // Callers, and so what they carry, stay: the records say what was left.
        const to = { ...other, callers: from.callers, undeclared: from.undeclared };
        const policy = new InboundPolicy(to);
        for (const [at, record] of recordsOf(from, asked).entries()) {
          const [plan] = [planOf([record], { from, to })];
          const now = policy.decide(asked[at]!).outcome;
          const expected = {
            denied: record.outcome === 'permit' && now === 'deny',
            allowed: record.outcome === 'deny' && now === 'permit',
          };
          const { denied, allowed, open } = totals(plan);
          if (open !== 0) continue;
          if (denied || allowed) changed++;
          assert.deepEqual({ denied: denied === 1, allowed: allowed === 1 }, expected);
        }
      }),
      { numRuns: 1_000 },
    );
    assert.ok(changed > 500, `only ${changed} decisions changed`);
  });

  test('never has newly denied decisions for a rule more', () => {
    fc.assert(
      fc.property(snapshots, rules(3), requests, (snapshot, more, asked) => {
        const to = {
          ...snapshot,
          rules: [...more.map((rule) => ({ ...rule, name: `new-${rule.name}` })), ...snapshot.rules],
        };
        const plan = planOf(recordsOf(snapshot, asked), { from: snapshot, to });
        assert.equal(plan.newlyDenied.decisions, 0);
      }),
      runs,
    );
  });

  test('allows nothing by a claim that was not recorded', () => {
    let unknown = 0;
    fc.assert(
      fc.property(snapshots, snapshots, requests, (from, other, asked) => {
        const to = { ...other, callers: from.callers, undeclared: from.undeclared };
        const policy = new InboundPolicy(to);
        for (const [at, record] of recordsOf(
          { ...from, rules: from.rules.filter(({ claims }) => claims.length === 0) },
          asked,
        ).entries()) {
          const plan = planOf([record], { from, to });
          unknown += plan.unknown.decisions;
          if (plan.newlyAllowed.decisions === 0) continue;
          const request = asked[at]!;
          for (const value of ['gold', 'free', 7, ['gold'], undefined]) {
            const claims = { plan: value, a: { b: value } };
            const token = request.token && { ...request.token, claims };
            assert.equal(policy.decide({ ...request, token }).outcome, 'permit');
          }
        }
      }),
      { numRuns: 1_000 },
    );
    assert.ok(unknown > 20, `only ${unknown} decisions were unknown`);
  });
});
