import { type Condition, conditions } from '#policy/decide.ts';
import { type Declarations, type InboundRequest, Rule } from '#policy/rule.ts';
import type { SnapshotRule } from '#policy/snapshot.ts';
import type { ScopeSet } from '#tokens/scope.ts';

type Outcome =
  | { readonly outcome: 'permit'; readonly rule: string }
  | { readonly outcome: 'deny'; readonly rule: string | undefined; readonly condition: Condition | 'rule' };

/** How a manifest reads: every rule in turn, every condition in turn. What decides in a sidecar must say the same. */
export function evaluatePlainly(
  rules: readonly SnapshotRule[],
  request: InboundRequest,
  granted: ScopeSet,
  edges: Declarations,
): Outcome {
  let nearest: { rule: string; condition: Condition } | undefined;
  for (const [index, source] of rules.entries()) {
    const condition = new Rule(source, index).firstFailed(request, granted, edges);
    if (condition === undefined) return { outcome: 'permit', rule: source.name };
    if (nearest === undefined || conditions.indexOf(condition) > conditions.indexOf(nearest.condition))
      nearest = { rule: source.name, condition };
  }
  return nearest === undefined
    ? { outcome: 'deny', rule: undefined, condition: 'rule' }
    : { outcome: 'deny', ...nearest };
}
