import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { ClaimCondition } from './claim-condition.ts';
import type { Condition } from './decide.ts';
import { matchesSegments } from './path-pattern.ts';
import { coversPattern } from './pattern-relations.ts';
import type { RuleLimit } from './rule-conditions.ts';
import type { SnapshotRule } from './snapshot.ts';

/** The conditions that a rule itself says something about: whether a call is declared is for its caller to say. */
export type RuleCondition = Exclude<Condition, 'declared'>;

/** Whether it is known of a workload that it declares the call, or that it has a manifest which does not: `any` and patterns mean only those. */
type IsKnown = (id: SpiffeId) => boolean;
type Covers = (broad: SnapshotRule, narrow: SnapshotRule, isKnown: IsKnown) => boolean;

/**
 * By condition, whether it holds in `broad` for every request for which it holds in `narrow`. What cannot be told is no: two patterns
 * that cover a third only together do not cover it.
 */
export const covers: Readonly<Record<RuleCondition, Covers>> = {
  port: (broad, narrow) => broad.port === undefined || broad.port === narrow.port,
  path: ({ paths: broad }, { paths: narrow }) =>
    broad === undefined || narrow?.every((path) => broad.some((pattern) => coversPattern(pattern, path))) === true,
  method: ({ methods: broad }, { methods: narrow }) => broad === undefined || isWithin(narrow, broad),
  peer: coversPeers,
  until: (broad, narrow) =>
    broad.untilMs === undefined || (narrow.untilMs !== undefined && narrow.untilMs <= broad.untilMs),
  account: (broad, narrow) => broad.account === 'none' || narrow.account === 'required',
  actor: ({ actor: broad }, { actor: narrow }) => {
    if (broad === undefined || broad === narrow) return true;
    if (broad === 'required') return narrow !== undefined && narrow !== 'none';
    return Array.isArray(broad) && Array.isArray(narrow) && isWithin(narrow, broad);
  },
  claims: (broad, narrow) => broad.claims.every((claim) => narrow.claims.some((other) => implies(other, claim))),
  scopes: (broad, narrow) => {
    if (!isWithin(broad.scopes, narrow.scopes)) return false;
    const any = broad.anyScope;
    return any === undefined || any.some((one) => narrow.scopes.includes(one)) || isWithin(narrow.anyScope, any);
  },
  limit: (broad, narrow) => broad.limits.every((limit) => narrow.limits.some((other) => isStricter(other, limit))),
};

/**
 * Whether a rule is of no use beside another: whatever it allows the other allows too, and each condition that it fails on the other
 * fails on no later. Two rules with limits have two budgets, so a limit makes a rule that shadows nothing.
 */
export function shadows(broad: SnapshotRule, narrow: SnapshotRule, isKnown: IsKnown): boolean {
  if (broad.limits.length > 0 || (narrow.sensitive && !broad.sensitive)) return false;
  for (const condition of checked) if (!covers[condition](broad, narrow, isKnown)) return false;
  return true;
}

const checked = Object.keys(covers) as RuleCondition[];

function coversPeers(broad: SnapshotRule, narrow: SnapshotRule, isKnown: IsKnown): boolean {
  if (narrow.isRouterAllowed && !broad.isRouterAllowed) return false;
  if (narrow.isUnmeshedAllowed && !broad.isUnmeshedAllowed) return false;
  const isPattern = (id: string) => broad.idPatterns.some((pattern) => matchesSegments(pattern, id, 0));
  const isCovered = (id: SpiffeId) => broad.ids.includes(id) || ((broad.isAnyAllowed || isPattern(id)) && isKnown(id));
  if (!narrow.ids.every(isCovered)) return false;
  if (broad.isAnyAllowed) return true;
  return (
    !narrow.isAnyAllowed &&
    narrow.idPatterns.every((pattern) => broad.idPatterns.some((one) => coversPattern(one, pattern)))
  );
}

function implies(claim: ClaimCondition, wanted: ClaimCondition): boolean {
  if (claim.pointer !== wanted.pointer) return false;
  if (wanted.exists !== undefined) return claim.exists === undefined ? wanted.exists : claim.exists === wanted.exists;
  return claim.as === wanted.as && isWithin(claim.anyOf, wanted.anyOf!);
}

function isStricter(limit: RuleLimit, than: RuleLimit): boolean {
  return limit.per === than.per && limit.perSecond <= than.perSecond && limit.burst <= than.burst;
}

/** Whether each of some is one of others; `undefined` stands for everything. */
function isWithin(some: readonly unknown[] | undefined, others: readonly unknown[]): boolean {
  return some?.every((one) => others.includes(one)) === true;
}
