import type { Condition } from '#kubernetes/resources-policy.ts';
import type { Finding } from '#policy/read-object.ts';
import type { Outcome } from './cluster-policy-source.ts';
import { packSpec } from './packed-spec.ts';

interface Pods {
  readonly total: number;
  readonly programmed: number;
}

interface StatusFacts {
  readonly outcome: Outcome;
  /** Of the policy in force. */
  readonly policyVersion: string;
  readonly nowMs: number;
}

/** As the definition of the status takes them. */
const problemsMax = 100;
const messageMax = 1024;
const fieldMax = 512;

/** What the status of a ServicePolicy is to say. */
export function policyStatus(facts: StatusFacts, pods: Pods): object {
  const { total, programmed } = pods;
  const { object, inForce } = facts.outcome;
  const isWhole = inForce?.generation === object.generation;
  const said = !isWhole
    ? { status: 'False', reason: 'NotAccepted', message: 'this generation is not in force' }
    : programmed >= total
      ? { status: 'True', reason: 'AllPods', message: `${programmed} of ${total} pods have it` }
      : { status: 'False', reason: 'Pending', message: `${programmed} of ${total} pods have it` };
  const conditions = [accepted(facts), { type: 'Programmed', ...said }];
  return { ...common(facts, conditions), pods };
}

/** What the status of a Cell is to say. */
export function cellStatus(facts: StatusFacts, policies: number): object {
  return { ...common(facts, [accepted(facts)]), policies };
}

function common(
  facts: StatusFacts,
  conditions: readonly Omit<Condition, 'lastTransitionTime' | 'observedGeneration'>[],
) {
  const { outcome, policyVersion, nowMs } = facts;
  const { object, inForce, findings } = outcome;
  const { generation, status } = object;
  const isSame = status.accepted?.generation === inForce?.generation && status.policyVersion !== '';
  const time = new Date(Math.floor(nowMs / 1000) * 1000).toISOString().replace('.000Z', 'Z');
  const version = inForce === undefined ? '' : isSame ? status.policyVersion : policyVersion;
  const form = acceptedForm(outcome);
  return {
    observedGeneration: generation,
    ...(version !== '' && { policyVersion: version }),
    conditions: conditions.map((condition) => {
      const before = status.conditions.find(({ type }) => type === condition.type);
      const lastTransitionTime = before?.status === condition.status ? before.lastTransitionTime : time;
      return { ...condition, lastTransitionTime, observedGeneration: generation };
    }),
    ...(findings.length > 0 && { problems: findings.slice(0, problemsMax).map(problem) }),
    ...(form !== undefined && { accepted: form }),
  };
}

function accepted({ outcome }: StatusFacts) {
  const { object, inForce, findings } = outcome;
  const first = findings[0] && textOf(findings[0]);
  const more = findings.length > 1 ? ` (and ${findings.length - 1} more)` : '';
  const why = `${first}${more}`.slice(0, messageMax);
  if (inForce?.generation === object.generation) {
    if (findings.length === 0) return condition('True', 'InForce', 'it is in force');
    return condition('True', 'InForceInPart', `${why}; what it says of that is left out`);
  }
  if (inForce === undefined) return condition('False', 'Refused', `${why}; nothing of it is in force`);
  return condition('False', 'Refused', `${why}; generation ${inForce.generation} stays in force`);
}

function condition(status: 'True' | 'False', reason: string, message: string) {
  return { type: 'Accepted', status, reason, message };
}

/** What is in force, or was last. */
function acceptedForm({ object, inForce }: Outcome): object | undefined {
  const before = object.status.accepted;
  if (inForce === undefined || inForce.generation === before?.generation) return before;
  const spec = packSpec(inForce.spec);
  return spec === undefined ? undefined : { generation: inForce.generation, spec };
}

function problem({ field, message }: Finding): object {
  return { ...(field !== undefined && { field: field.slice(0, fieldMax) }), message: message.slice(0, messageMax) };
}

function textOf({ field, message }: Finding): string {
  return field === undefined ? message : `${field}: ${message}`;
}
