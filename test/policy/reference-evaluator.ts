import type { ClaimCondition } from '#policy/claim-condition.ts';
import { type Condition, conditions } from '#policy/decide.ts';
import type { Declarations, InboundRequest } from '#policy/rule.ts';
import type { SnapshotRule } from '#policy/snapshot.ts';
import type { ScopeSet } from '#tokens/scope.ts';

type Outcome =
  | { readonly outcome: 'permit'; readonly rule: string }
  | { readonly outcome: 'deny'; readonly rule: string | undefined; readonly condition: Condition | 'rule' };

/** How a manifest reads, with none of the code that decides: every rule in turn, every condition in turn. What decides in a sidecar must say the same. */
export function evaluatePlainly(
  rules: readonly SnapshotRule[],
  request: InboundRequest,
  granted: ScopeSet,
  edges: Declarations,
): Outcome {
  let nearest: { rule: string; condition: Condition } | undefined;
  for (const rule of rules) {
    const condition = conditions.find((one) => !holds(one, rule, request, granted, edges));
    if (condition === undefined) return { outcome: 'permit', rule: rule.name };
    if (nearest === undefined || conditions.indexOf(condition) > conditions.indexOf(nearest.condition))
      nearest = { rule: rule.name, condition };
  }
  return nearest === undefined
    ? { outcome: 'deny', rule: undefined, condition: 'rule' }
    : { outcome: 'deny', ...nearest };
}

function holds(
  condition: Condition,
  rule: SnapshotRule,
  request: InboundRequest,
  granted: ScopeSet,
  edges: Declarations,
): boolean {
  const { peer, token } = request;
  const isNamed = rule.ids.some((id) => id === peer);
  switch (condition) {
    case 'port':
      return [undefined, request.port].includes(rule.port);
    case 'path':
      return !rule.paths || rule.paths.some(({ text }) => globOf(text, '').test(request.path));
    case 'method':
      return !rule.methods || rule.methods.includes(request.method);
    case 'peer':
      if (request.isRouter) return rule.isRouterAllowed;
      if (peer === 'unmeshed') return rule.isUnmeshedAllowed;
      return isNamed || rule.isAnyAllowed || rule.idPatterns.some(({ text }) => globOf(text, 'spiffe:').test(peer));
    case 'declared':
      return request.isRouter || peer === 'unmeshed' || (isNamed ? !edges.isUndeclared(peer) : edges.isDeclared(peer));
    case 'until':
      return request.nowMs < (rule.untilMs ?? Number.POSITIVE_INFINITY);
    case 'account':
      return rule.account === 'none' || Boolean(token?.account);
    case 'actor':
      if (rule.actor === undefined) return true;
      if (rule.actor === 'none') return !token?.actor;
      return Boolean(token?.actor) && (rule.actor === 'required' || rule.actor.includes(token!.actor!));
    case 'claims':
      return rule.claims.every((claim) => token !== undefined && holdsFor(claim, token.claims));
    case 'scopes': {
      const held = granted.text.split(' ');
      return (
        rule.scopes.every((scope) => held.includes(scope)) &&
        (!rule.anyScope || rule.anyScope.some((scope) => held.includes(scope)))
      );
    }
    case 'limit':
      return true;
  }
}

/** A pattern as a regular expression, which nothing that decides uses. */
function globOf(pattern: string, start: string): RegExp {
  const quoted = pattern.slice(start.length).replaceAll(/[.+?^$(){}|[\]\\]/g, '\\$&');
  const segments = quoted.replace(/\*\*$/, '.*').replaceAll(/(?<=\/)\*(?=\/|$)/g, '[^/]+');
  return new RegExp(`^${start}${segments}$`);
}

function holdsFor({ pointer, as, anyOf = [], exists }: ClaimCondition, claims: unknown): boolean {
  let value = claims as Record<string, unknown> | null | undefined;
  for (const step of pointer.split('/').slice(1)) value = (value as Record<string, typeof value> | undefined)?.[step];
  if (exists !== undefined) return (value !== undefined && value !== null) === exists;
  const items: readonly unknown[] =
    as === 'value'
      ? [value]
      : as === 'list'
        ? Array.isArray(value)
          ? value
          : []
        : typeof value === 'string'
          ? String(value).split(' ')
          : [];
  return items.some((item) => anyOf.some((wanted) => wanted === item));
}
