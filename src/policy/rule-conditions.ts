import type { Scope } from '#tokens/scope.ts';
import type { ClaimCondition } from './claim-condition.ts';
import type { PathPattern } from './path-pattern.ts';

/** Which requests are meant. */
export interface RouteMatch {
  readonly port?: number;
  readonly methods?: readonly string[];
  readonly paths?: readonly PathPattern[];
}

/** What a rule asks of a request, whoever makes it. */
export interface RuleConditions extends RouteMatch {
  /** Every one of them is needed. */
  readonly scopes: readonly Scope[];
  /** One of them is needed. */
  readonly anyScope?: readonly Scope[];
  readonly account: 'required' | 'none';
  /** Who acts for the token's subject (RFC 8693 4.1): nobody, somebody, or one of these. */
  readonly actor?: 'none' | 'required' | readonly string[];
  readonly claims: readonly ClaimCondition[];
  /** Milliseconds since the epoch from which on the rule allows nothing. */
  readonly untilMs?: number;
  readonly limits: readonly RuleLimit[];
}

/** Whether it asks for what only a certificate or a token can prove: whoever calls without TLS cannot. */
export function asksForProof({
  scopes,
  anyScope,
  claims,
  actor,
  sensitive,
}: Pick<RuleConditions, 'scopes' | 'anyScope' | 'claims' | 'actor'> & { readonly sensitive: boolean }): boolean {
  return scopes.length > 0 || anyScope !== undefined || claims.length > 0 || actor !== undefined || sensitive;
}

/** How often a rule allows something: GCRA. */
export interface RuleLimit {
  /** What is counted by itself: each customer, each calling workload, or all together. */
  readonly per: 'account' | 'peer' | 'rule';
  readonly perSecond: number;
  /** How many may come at once after a pause. */
  readonly burst: number;
}
