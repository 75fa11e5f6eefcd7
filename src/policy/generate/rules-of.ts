import type { Scope } from '#tokens/scope.ts';
import type { SnapshotRule } from '../snapshot.ts';
import type { SeenRequests, SeenService } from './seen.ts';

/** What a rule of a generated manifest is about, and how often it was seen. */
export interface GeneratedRule {
  /** 0: records do not say. */
  readonly port: number;
  /** Absent: a connection. */
  readonly methods?: readonly string[];
  readonly paths?: readonly string[];
  readonly from: readonly string[];
  readonly scopes: readonly Scope[];
  readonly account: 'required' | 'none';
  /** Today's, with what it asks for besides. */
  readonly rule: SnapshotRule | undefined;
  readonly ruleName: string | undefined;
  readonly requests: number;
}

/** A manifest takes no more paths in one rule. */
const pathsMax = 1_000;

/**
 * The rules that allow what a service was asked, and nothing else: what differs in one thing only (callers, methods, paths) is one rule, so that no
 * rule allows a combination that was not seen.
 */
export function rulesOf({ ports }: SeenService): GeneratedRule[] {
  const single = [...ports].flatMap(([port, { paths, connections }]) => [
    ...paths.patterns().flatMap(([path, route]) => [...route.values()].map((seen) => ruleOf(port, path, seen))),
    ...[...connections.values()].map((seen) => ruleOf(port, undefined, seen)),
  ]);
  const byPeer = joined(single, 'from');
  const byMethod = joined(byPeer, 'methods');
  return joined(byMethod, 'paths')
    .flatMap((rule) => chunksOf(rule))
    .sort((a, b) => b.requests - a.requests);
}

/** The scopes that requests needed: those of the rule that allows them today, or what was granted to all of them. */
export function scopesOf({ rule, granted }: SeenRequests): readonly Scope[] {
  return rule?.scopes ?? [...granted];
}

function ruleOf(port: number, path: string | undefined, seen: SeenRequests): GeneratedRule {
  const { method, peer, rule, ruleName, requests, withAccount } = seen;
  return {
    port,
    ...(path !== undefined && { methods: [method], paths: [path] }),
    from: [peer],
    scopes: scopesOf(seen),
    account: withAccount === requests ? 'required' : 'none',
    rule,
    ruleName,
    requests,
  };
}

/** Rules that differ in `dimension` only as one that has all of it. */
function joined(rules: readonly GeneratedRule[], dimension: 'from' | 'methods' | 'paths'): GeneratedRule[] {
  const keyOf = ({ requests: _requests, rule, ...what }: GeneratedRule) =>
    JSON.stringify([rule === undefined, { ...what, [dimension]: what[dimension] === undefined ? undefined : [] }]);
  return [...Map.groupBy(rules, keyOf).values()].map((alike) => {
    const [first] = alike;
    const all = new Set(alike.flatMap((rule) => rule[dimension] ?? []));
    const requests = alike.reduce((sum, rule) => sum + rule.requests, 0);
    return { ...first!, ...(all.size > 0 && { [dimension]: [...all].sort() }), requests };
  });
}

function chunksOf(rule: GeneratedRule): GeneratedRule[] {
  const { paths } = rule;
  if (paths === undefined || paths.length <= pathsMax) return [rule];
  const chunks = Math.ceil(paths.length / pathsMax);
  return Array.from({ length: chunks }, (_, n) => ({ ...rule, paths: paths.slice(n * pathsMax, (n + 1) * pathsMax) }));
}
