import { type Condition, conditions } from './decide.ts';
import type { InboundPolicy } from './decide-inbound.ts';
import { differenceOf } from './describe-failure.ts';
import { unmeshed } from './peer-pattern.ts';
import { type InboundRequest, Rule } from './rule.ts';
import type { SnapshotRule } from './snapshot.ts';

/** One condition of a rule, held against a request. */
export interface ConditionTrial {
  readonly condition: Condition;
  readonly holds: boolean;
  readonly expected: string;
  readonly actual: string;
}

/** One rule, held against a request. */
export interface RuleTrial {
  readonly rule: string;
  readonly allows: boolean;
  /** The rule asks nothing of the conditions that are not here. */
  readonly conditions: readonly ConditionTrial[];
}

/** Every rule of the version in force against a request, every condition by itself: what `decide` would have found out had it not stopped. */
export function tryRules(policy: InboundPolicy, request: InboundRequest): RuleTrial[] {
  const granted = policy.grantedTo(request);
  return policy.snapshot.rules.map((source, index) => {
    const rule = new Rule(source, index);
    const trials = conditions
      .filter((condition) => isAsked(condition, source, request))
      .map((condition) => {
        const { expected, actual } = differenceOf(rule, condition, request, granted);
        const holds = rule.holds(condition, request, granted, policy);
        return { condition, holds, expected, actual: (holds && actualOfHolding[condition]) || actual };
      });
    return { rule: source.name, allows: trials.every(({ holds }) => holds), conditions: trials };
  });
}

/** Where the words for what fails say that it does. */
const actualOfHolding: Partial<Record<Condition, string>> = {
  declared: 'it does, or need not',
  limit: 'not counted here',
};

function isAsked(condition: Condition, rule: SnapshotRule, { isRouter, peer }: InboundRequest): boolean {
  switch (condition) {
    case 'port':
    case 'actor':
      return rule[condition] !== undefined;
    case 'path':
      return rule.paths !== undefined;
    case 'method':
      return rule.methods !== undefined;
    case 'until':
      return rule.untilMs !== undefined;
    case 'account':
      return rule.account === 'required';
    case 'claims':
      return rule.claims.length > 0;
    case 'scopes':
      return rule.scopes.length > 0 || rule.anyScope !== undefined;
    case 'limit':
      return rule.limits.length > 0;
    case 'declared':
      return !isRouter && peer !== unmeshed;
    case 'peer':
      return true;
  }
}
