import type { Asked } from '../cases/decide-call.ts';
import { type Condition, conditions } from '../decide.ts';
import { type ConditionTrial, type RuleTrial, tryRules } from '../try-rules.ts';

export interface EvaluatedCondition extends ConditionTrial {
  /** It is about a claim that was not recorded: it may hold. */
  readonly isUnknown?: true;
}

export interface EvaluatedRule extends RuleTrial {
  readonly conditions: readonly EvaluatedCondition[];
}

/** Every rule that a request was held against: those that allow it first, then the nearest, as decisions name it. */
export function evaluate({ policy, request }: Asked): readonly EvaluatedRule[] {
  return nearestFirst(tryRules(policy, request));
}

/** Stable: rules that got as far as each other stay in their order. */
export function nearestFirst<T extends EvaluatedRule>(rules: readonly T[]): readonly T[] {
  return [...rules].sort((a, b) => reachOf(b) - reachOf(a));
}

/** The conditions that fail, or may. */
export function failedOf({ conditions }: EvaluatedRule): readonly EvaluatedCondition[] {
  return conditions.filter(({ holds }) => !holds);
}

/** How far a request got with a rule: the place of the first condition that fails; past all of them when none does. */
function reachOf(rule: EvaluatedRule): number {
  const [first] = failedOf(rule);
  return first === undefined ? conditions.length : conditions.indexOf(first.condition satisfies Condition);
}
