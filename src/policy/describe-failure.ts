import type { ScopeSet } from '#tokens/scope.ts';
import { type ClaimCondition, describeClaim, parsePointer } from './claim-condition.ts';
import { type Condition, type Denial, deny } from './decide.ts';
import type { Reason } from './reasons.ts';
import { claimAt, type InboundRequest, type Rule } from './rule.ts';
import { peerWordsOf, type SnapshotRule } from './snapshot.ts';

/** What a condition of a rule asks for, and what the request brought. */
interface Difference {
  readonly reason: Reason;
  readonly expected: string;
  readonly actual: string;
}

/** The denial of a request whose nearest rule fails at `condition`. */
export function denialOf(rule: Rule, condition: Condition, request: InboundRequest, granted: ScopeSet): Denial {
  const { reason, expected, actual } = differenceOf(rule, condition, request, granted);
  return deny(reason, { rule: rule.source.name, condition, expected, actual });
}

/** In words, for the condition of a rule, whether it holds or not. */
export function differenceOf(rule: Rule, condition: Condition, request: InboundRequest, granted: ScopeSet): Difference {
  const { source } = rule;
  const { token } = request;
  switch (condition) {
    case 'port':
      return {
        reason: 'route_not_allowed',
        expected: source.port === undefined ? 'any port' : `port ${source.port}`,
        actual: `port ${request.port}`,
      };
    case 'path': {
      const paths = source.paths?.map(({ text }) => text).join(' or ') ?? 'any path';
      return { reason: 'route_not_allowed', expected: paths, actual: request.path || 'a connection' };
    }
    case 'method':
      return {
        reason: 'route_not_allowed',
        expected: source.methods?.join(' or ') ?? 'any method',
        actual: request.method,
      };
    case 'peer':
      return { reason: 'peer_not_allowed', expected: peersOf(source), actual: request.peer };
    case 'declared':
      return {
        reason: 'peer_not_declared',
        expected: `${request.peer} to declare the call`,
        actual: 'its manifest does not',
      };
    case 'until':
      return {
        reason: 'rule_expired',
        expected: source.untilMs === undefined ? 'any time' : `a time before ${moment(source.untilMs)}`,
        actual: moment(request.nowMs),
      };
    case 'account':
      return {
        reason: 'token_missing',
        expected: source.account === 'required' ? 'a customer' : 'a customer or none',
        actual: token === undefined ? 'no token' : (token.account ?? 'a token without a customer'),
      };
    case 'actor':
      return { reason: 'actor_not_allowed', expected: actorsOf(source), actual: token?.actor ?? 'nobody acts for it' };
    case 'claims':
      return claimDifference(source.claims, rule.failedClaim(request), request);
    case 'scopes':
      return scopeDifference(source, request, granted);
    case 'limit':
      return { reason: 'limit_reached', expected: limitsOf(source), actual: 'more' };
  }
}

function claimDifference(
  claims: readonly ClaimCondition[],
  failed: ClaimCondition | undefined,
  request: InboundRequest,
): Difference {
  const told = failed === undefined ? claims : [failed];
  const expected = told.map(describeClaim).join(' and ') || 'any claims';
  const values = told.map(({ pointer }) => `${pointer}: ${valueText(claimAt(request, parsePointer(pointer)))}`);
  return {
    reason: 'claim_not_allowed',
    expected,
    actual: request.token === undefined ? 'no token' : values.join(', '),
  };
}

function valueText(value: unknown): string {
  return typeof value === 'symbol'
    ? 'not recorded'
    : value === undefined
      ? 'none'
      : JSON.stringify(value).slice(0, 200);
}

function scopeDifference(source: SnapshotRule, { token, left }: InboundRequest, granted: ScopeSet): Difference {
  const { scopes, anyScope = [] } = source;
  const expected = [...scopes, ...(anyScope.length === 0 ? [] : [`one of ${anyScope.join(', ')}`])].join(' ');
  if (token === undefined)
    return { reason: 'scope_not_own', expected: expected || 'no scope', actual: `own: ${granted.text || 'none'}` };
  const heldByToken =
    scopes.every((scope) => token.scopes.has(scope)) &&
    (anyScope.length === 0 || anyScope.some((scope) => token.scopes.has(scope)));
  return {
    reason: heldByToken ? 'scope_not_carried' : 'scope_missing',
    expected: expected || 'no scope',
    actual: heldByToken
      ? `left after carry: ${granted.text || 'none'} (token: ${token.scopes.text}; left before: ${left?.text || 'none'})`
      : `token: ${token.scopes.text || 'none'}`,
  };
}

function peersOf({ ids, idPatterns, ...rule }: SnapshotRule): string {
  return [...ids, ...idPatterns.map(({ text }) => text), ...peerWordsOf(rule)].join(' or ');
}

function actorsOf({ actor }: SnapshotRule): string {
  if (actor === undefined) return 'anybody or nobody to act for it';
  if (actor === 'none') return 'nobody to act for it';
  return actor === 'required' ? 'somebody to act for it' : actor.join(' or ');
}

function limitsOf({ limits }: SnapshotRule): string {
  return limits
    .map(({ per, perSecond, burst }) => `${perSecond} a second for each ${per}, ${burst} at once`)
    .join('; ');
}

function moment(ms: number): string {
  return new Date(ms).toISOString();
}
