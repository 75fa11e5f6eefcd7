import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { InboundPolicy } from '#policy/decide-inbound.ts';
import { evaluate, failedOf } from '#policy/explain/evaluate.ts';
import { parsePolicySnapshot, serializePolicySnapshot } from '#policy/snapshot.ts';
import { request, rules, snapshotOf } from './random-policy.ts';
import { evaluatePlainly } from './reference-evaluator.ts';

const runs = { numRuns: 5_000 };

describe('deciding', () => {
  test('says what reading every rule in turn says: the rule that allows, or the nearest and its condition', () => {
    let permits = 0;
    fc.assert(
      fc.property(snapshotOf(rules()), request, (snapshot, asked) => {
        const policy = new InboundPolicy(snapshot);
        const decision = policy.decide(asked);
        const plain = evaluatePlainly(snapshot.rules, asked, policy.grantedTo(asked), policy);
        const said =
          decision.outcome === 'permit'
            ? { outcome: 'permit', rule: decision.rule }
            : { outcome: 'deny', rule: decision.failed.rule, condition: decision.failed.condition };
        if (decision.outcome === 'permit') permits++;
        assert.deepEqual(said, plain);
      }),
      runs,
    );
    assert.ok(
      permits > runs.numRuns / 50,
      `only ${permits} requests were allowed: the random manifests are too strict to say anything`,
    );
  });

  test('never denies for a rule more what was allowed without it, in either mode', () => {
    const mode = fc.constantFrom('audit' as const, 'enforce' as const);
    fc.assert(
      fc.property(snapshotOf(rules()), mode, rules(3), request, fc.nat(), (enforced, inMode, more, asked, at) => {
        const snapshot = { ...enforced, mode: inMode };
        if (new InboundPolicy(snapshot).decide(asked).outcome !== 'permit') return;
        const added = more.map((rule, index) => ({ ...rule, name: `added${index}` }));
        const wider = { ...snapshot, rules: snapshot.rules.toSpliced(at % (snapshot.rules.length + 1), 0, ...added) };
        assert.equal(new InboundPolicy(wider).decide(asked).outcome, 'permit');
      }),
      runs,
    );
  });

  test('is what trying every rule says: one allows if and only if it is permitted, and else the one that got furthest is the nearest', () => {
    let denials = 0;
    fc.assert(
      fc.property(snapshotOf(rules()), request, (snapshot, asked) => {
        const policy = new InboundPolicy(snapshot);
        const decision = policy.decide(asked);
        const tried = evaluate({ policy, request: asked });
        assert.deepEqual(tried.map(({ rule }) => rule).toSorted(), snapshot.rules.map(({ name }) => name).toSorted());
        const [first] = tried;
        assert.equal(first?.allows ?? false, decision.outcome === 'permit');
        if (decision.outcome === 'permit') {
          assert.equal(first!.rule, decision.rule);
          return;
        }
        if (first === undefined) return;
        denials++;
        const { condition, expected, actual } = failedOf(first)[0]!;
        assert.deepEqual({ rule: first.rule, condition, expected, actual }, decision.failed);
      }),
      runs,
    );
    assert.ok(denials > runs.numRuns / 50);
  });

  test('is the same after a snapshot went over the wire', () => {
    fc.assert(
      fc.property(snapshotOf(rules()), request, (snapshot, asked) => {
        const sent = parsePolicySnapshot(serializePolicySnapshot(snapshot));
        assert.deepEqual(sent, snapshot);
        assert.deepEqual(new InboundPolicy(sent).decide(asked), new InboundPolicy(snapshot).decide(asked));
      }),
      { numRuns: 500 },
    );
  });
});
