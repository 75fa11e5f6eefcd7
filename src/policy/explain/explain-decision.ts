import { isCellmeshError } from '#runtime/errors.ts';
import type { CellAtHand } from '../cases/cell-at-hand.ts';
import type { Asked } from '../cases/decide-call.ts';
import { assumedToFail, assumedToHold } from '../claim-condition.ts';
import type { DecisionRecord } from '../decision-record.ts';
import { isOfRules, recordedClaims, recordedRequest } from '../replay.ts';
import { type NeededChanges, neededChanges } from './changes.ts';
import { type EvaluatedRule, evaluate, nearestFirst } from './evaluate.ts';

/** A decision that was made, held again against every rule of the version that made it. */
export interface DecisionExplanation {
  /** The version that was in force; absent where the record names none. */
  readonly version?: string;
  /** Allowing rules first, then the nearest; absent where rules had no say, or cannot be had. */
  readonly rules?: readonly EvaluatedRule[];
  readonly needed?: NeededChanges;
  /** What is not known, and why, a sentence each. */
  readonly notes: readonly string[];
}

/** @param then the manifests that were in force, or why they cannot be had; today's are no substitute */
export function explainDecision(
  record: DecisionRecord,
  then: CellAtHand | { readonly why: string },
): DecisionExplanation {
  const { policyVersion: version, direction } = record;
  if (version === undefined) return { notes: [noVersion[direction]] };
  if ('why' in then)
    return {
      version,
      notes: [
        `The manifests of version ${version} cannot be had: ${then.why}. What stands above is what was recorded.`,
      ],
    };
  const reading =
    then.version === version
      ? []
      : [
          `Read by this cellmesh, the manifests of version ${version} are version ${then.version}: something of them has another meaning than it had then.`,
        ];
  if (direction === 'outbound') return { version, ...outbound(record, then, reading) };
  if (!isOfRules(record)) return { version, notes: ['Rules had no say in it.', ...reading] };
  return { version, ...inbound(record, then, reading) };
}

const noVersion = {
  edge: 'Routers decide by what is exposed; rules have their say in the cell.',
  inbound: 'The record names no policy version: there was none yet, or it was refused before any was asked.',
  outbound: 'The record names no policy version: there was none yet, or it was refused before any was asked.',
} as const;

type Told = Pick<DecisionExplanation, 'rules' | 'needed' | 'notes'>;

function inbound(record: DecisionRecord, then: CellAtHand, notes: readonly string[]): Told {
  const policy = then.inbound(record.service ?? '');
  if (policy === undefined) return { notes: [...notes, `That version has no manifest of ${record.service ?? 'it'}.`] };
  try {
    const request = recordedRequest(record, policy);
    const asked = (assumed: symbol): Asked => ({
      policy,
      request: { ...request, claimAt: recordedClaims(record, assumed) },
    });
    const atWorst = asked(assumedToFail);
    const rules = nearestFirst(limitsOf(record, joined(evaluate(atWorst), evaluate(asked(assumedToHold)))));
    const needed = record.outcome === 'permit' && !record.isAudited ? undefined : neededChanges(rules, atWorst, then);
    return {
      rules,
      ...(needed && { needed }),
      notes: [...notes, ...doubts(record, rules, policy.snapshot.service.ports.length)],
    };
  } catch (error) {
    if (!isCellmeshError(error)) throw error;
    return { notes: [...notes, `The request cannot be put together from the record: ${error.message}.`] };
  }
}

/** A condition that fails only when the worst is assumed of claims is not known. */
function joined(atWorst: readonly EvaluatedRule[], atBest: readonly EvaluatedRule[]): readonly EvaluatedRule[] {
  const best = new Map(atBest.map((rule) => [rule.rule, rule]));
  return atWorst.map((rule) => {
    const conditions = rule.conditions.map((one) => {
      const isUnknown =
        best.get(rule.rule)!.conditions.find(({ condition }) => condition === one.condition)!.holds !== one.holds;
      return isUnknown ? { ...one, isUnknown } : one;
    });
    return { ...rule, conditions };
  });
}

/** Budgets are not recorded; that every rule was out of its is. */
function limitsOf({ reason }: DecisionRecord, rules: readonly EvaluatedRule[]): readonly EvaluatedRule[] {
  if (reason !== 'limit_reached') return rules;
  return rules.map((rule) => {
    if (!rule.allows) return rule;
    const conditions = rule.conditions.map((one) =>
      one.condition === 'limit' ? { ...one, holds: false, actual: 'more' } : one,
    );
    return { ...rule, allows: false, conditions };
  });
}

function* doubts(
  { port, rule, failed, candidate }: DecisionRecord,
  rules: readonly EvaluatedRule[],
  ports: number,
): Generator<string> {
  if (port === undefined && ports > 1) yield 'The record does not say which port was meant; the first is assumed.';
  const unknown = rules
    .filter(({ conditions }) => conditions.some(({ isUnknown }) => isUnknown))
    .map(({ rule }) => rule);
  if (unknown.length > 0)
    yield `Not all claims that rules ask for were recorded: ${unknown.slice(0, 5).join(', ')}${unknown.length > 5 ? ' and others' : ''}.`;
  if (candidate?.isInForce)
    yield `For this account the candidate ${candidate.version} was in force; these are its rules.`;
  const [first] = rules;
  const recorded = rule ?? failed?.rule;
  if (unknown.length === 0 && recorded !== undefined && first !== undefined && first.rule !== recorded)
    yield `Held against the rules again, ${first.rule} comes first; recorded was ${recorded}.`;
}

function outbound({ service = '', reason, failed }: DecisionRecord, then: CellAtHand, notes: readonly string[]): Told {
  const policy = then.outbound(service);
  if (policy === undefined) return { notes: [...notes, `That version has no manifest of ${service}.`] };
  const calls = policy.calls.map(({ source }) => `${source.name} (${source.hosts.join(', ')})`);
  const declared = `Calls that ${service} declared: ${calls.join('; ') || 'none'}.`;
  if (reason !== 'not_declared') return { notes: [...notes, declared] };
  const host = (failed?.actual ?? '').replace(/\.?(:\d+)?$/, '');
  const callee = [...then.snapshots.values()].find(({ service: { hosts } }) => hosts.includes(host))?.service.name;
  const change =
    callee === undefined
      ? `No manifest had the host ${host}.`
      : `${host} was ${callee}: add \`to: ${callee}\` to \`calls\` of ${service}.`;
  return { notes: [...notes, declared, change] };
}
