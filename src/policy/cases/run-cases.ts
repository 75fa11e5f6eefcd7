import { isCellmeshError } from '#runtime/errors.ts';
import { documentInvalid, type Position, problemText } from '#runtime/yaml-document.ts';
import { ScopeSet } from '#tokens/scope.ts';
import { suggestion } from '../suggestion.ts';
import { workloadText } from '../workload-name.ts';
import { type Call, type Customer, callerText, callOf } from './call.ts';
import type { Caller, Expectation, NextRequest } from './case-shapes.ts';
import type { CellAtHand } from './cell-at-hand.ts';
import { type CallDecision, customerAfter, decideCall } from './decide-call.ts';
import type { Hop, TestCase } from './read-cases.ts';

/** One request of a case, and what became of it. */
interface HopResult {
  readonly call: Call;
  /** `router -> messaging/api`, as it was written. */
  readonly parties: string;
  readonly expect: Expectation;
  readonly decision: CallDecision;
  /** What is not as expected; empty when all is. */
  readonly differences: readonly Difference[];
}

interface Difference {
  readonly expected: string;
  readonly actual: string;
}

export interface CaseResult {
  readonly test: TestCase;
  readonly isPassed: boolean;
  /** Up to the first that is not as expected. */
  readonly hops: readonly HopResult[];
}

/**
 * Decides every case.
 * @param nowMs the time of cases that do not say theirs
 * @throws CellmeshError `document_invalid` with every place where a case names what the manifests do not know
 */
export function runCases(policies: CellAtHand, cases: readonly TestCase[], nowMs: number): readonly CaseResult[] {
  const problems = new Set<string>();
  const results = cases.map((test) =>
    runCase(policies, test, nowMs, ({ line, column }, message) =>
      problems.add(problemText({ file: test.file, line, column, message })),
    ),
  );
  if (problems.size > 0) throw documentInvalid([...problems]);
  return results;
}

type Add = (at: Position, message: string) => void;

interface Before {
  readonly from: Caller;
  readonly customer: Customer | undefined;
  readonly nowMs: number;
}

function runCase(policies: CellAtHand, test: TestCase, nowMs: number, add: Add): CaseResult {
  const hops: HopResult[] = [];
  let before: Before | undefined;
  for (const hop of test.hops) {
    const { request, expect } = hop;
    checkNames(policies, hop, add);
    const call = readCall(policies, hop, before, nowMs, add);
    if (call === undefined) break;
    const decision = decideCall(policies, call);
    const differences = [...differencesOf(expect.value, decision)];
    const parties = `${callerText(fromOf(request.value, before))} -> ${call.callee}`;
    hops.push({ call, parties, expect: expect.value, decision, differences });
    if (differences.length > 0) break;
    const from = { kind: 'workload', workload: request.value.to } as const;
    before = { from, customer: customerAfter(decision), nowMs: call.nowMs };
  }
  return { test, hops, isPassed: hops.every(({ differences }) => differences.length === 0) };
}

function readCall(
  policies: CellAtHand,
  { request: { value, at } }: Hop,
  before: Before | undefined,
  nowMs: number,
  add: Add,
): Call | undefined {
  try {
    const call = callOf({ ...value, from: fromOf(value, before) }, policies, before?.nowMs ?? nowMs);
    // A connection has no field to say whose request it is for.
    return before === undefined || call.isConnection ? call : { ...call, customer: before.customer };
  } catch (error) {
    if (!isCellmeshError(error, 'document_invalid')) throw error;
    add(at, error.message);
    return undefined;
  }
}

function fromOf({ from }: NextRequest, before: Before | undefined): Caller {
  return from ?? before!.from;
}

/** An expectation that names what is not there would hold, or fail, for another reason than its author means. */
function checkNames(policies: CellAtHand, { request, expect }: Hop, add: Add): void {
  const snapshot = policies.snapshotOf(workloadText(request.value.to));
  if (snapshot === undefined) return;
  const names = snapshot.rules.map(({ name }) => name);
  const { allow, rule, left = [] } = expect.value;
  for (const name of [allow, rule])
    if (name !== undefined && !names.includes(name))
      add(expect.at, `${snapshot.service.name} has no rule ${name}${suggestion(name, names)}`);
  for (const scope of left)
    if (!policies.cell.scopes.has(scope)) add(expect.at, `scope ${scope} is not in the catalogue`);
}

function* differencesOf(expect: Expectation, decision: CallDecision): Generator<Difference> {
  const expected = outcomeText(expect);
  const actual = decisionText(decision);
  if (!isOutcome(expect, decision)) yield { expected, actual };
  if (expect.left === undefined || decision.outcome === 'deny') return;
  const left = ScopeSet.of(expect.left).text;
  if (left !== decision.granted.text)
    yield { expected: `left: ${left || 'none'}`, actual: `left: ${decision.granted.text || 'none'}` };
}

function isOutcome({ allow, deny, audit, by, rule, condition }: Expectation, decision: CallDecision): boolean {
  if (decision.outcome === 'allow') return decision.rule === allow;
  const { denial, outcome } = decision;
  const { failed, reason } = denial;
  return (
    reason === (outcome === 'audit' ? audit : deny) &&
    (by === undefined || by === sideOf(decision)) &&
    (rule === undefined || rule === failed.rule) &&
    (condition === undefined || condition === failed.condition)
  );
}

function sideOf(decision: CallDecision): 'caller' | 'callee' {
  return decision.outcome === 'deny' ? decision.by : 'callee';
}

function outcomeText({ allow, deny, audit, by, rule, condition }: Expectation): string {
  if (allow !== undefined) return `allowed by rule ${allow}`;
  const what = deny === undefined ? `let through by audit mode, with ${audit}` : `refused with ${deny}`;
  return [
    what,
    ...(by === undefined ? [] : [`by the ${by}`]),
    ...(rule === undefined ? [] : [`nearest rule ${rule}`]),
    ...(condition === undefined ? [] : [`condition ${condition}`]),
  ].join(', ');
}

/** A decision in words. */
function decisionText(decision: CallDecision): string {
  if (decision.outcome === 'allow') return `allowed by rule ${decision.rule}`;
  const { reason, failed } = decision.denial;
  const { rule, condition } = failed;
  const nearest = rule === undefined ? '' : `, nearest rule ${rule}`;
  const what =
    decision.outcome === 'audit'
      ? `let through by audit mode, with ${reason}`
      : `refused with ${reason}, by the ${decision.by}`;
  return `${what}${nearest}, condition ${condition}`;
}
