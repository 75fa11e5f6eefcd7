import type { SpiffeId } from '#certs/spiffe-id.ts';
import { ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import type { CanonicalPath } from './canonical-path.ts';
import { type Condition, type Denial, deny, type Permit, permit } from './decide.ts';
import { matchesPath } from './path-pattern.ts';
import type { Reason } from './reasons.ts';
import type { PolicySnapshot, SnapshotRule } from './snapshot.ts';

export interface InboundRequest {
  readonly peer: SpiffeId;
  /** Whether the peer is a router of the global trust domain. */
  readonly isRouter: boolean;
  readonly port: number;
  readonly method: string;
  readonly path: CanonicalPath;
  readonly token: VerifiedToken | undefined;
  /** What the hop before says is left of the token's scopes; from a router there is no such word, all of the token is left. */
  readonly left: ScopeSet | undefined;
}

interface InboundGrant {
  readonly rule: string | undefined;
  /** The scopes in force at this hop: what the application is told, and what is left for the next hop. */
  readonly granted: ScopeSet;
  readonly token: VerifiedToken | undefined;
  /** In audit mode: the denial that would have been. */
  readonly audited: Denial | undefined;
}

export type InboundPermit = Permit<InboundGrant>;

interface Caller {
  readonly carry: ScopeSet | undefined;
  readonly own: ScopeSet;
}

interface Rule {
  readonly source: SnapshotRule;
  readonly ids: ReadonlySet<SpiffeId>;
  readonly methods: ReadonlySet<string> | undefined;
}

interface Miss {
  readonly rule: Rule;
  readonly condition: Condition;
}

/** Further along is nearer. */
const rank: Record<Condition, number> = { port: 0, path: 1, method: 2, peer: 3, declared: 4, account: 5, scopes: 6 };

/** A service's inbound policy, ready to decide. Built once per snapshot. */
export class InboundPolicy {
  readonly snapshot: PolicySnapshot;
  readonly #rules: readonly Rule[];
  readonly #callers: ReadonlyMap<SpiffeId, Caller>;
  readonly #undeclared: ReadonlySet<SpiffeId>;

  constructor(snapshot: PolicySnapshot) {
    this.snapshot = snapshot;
    this.#rules = snapshot.rules.map((source) => ({
      source,
      ids: new Set(source.ids),
      methods: source.methods === undefined ? undefined : new Set(source.methods),
    }));
    this.#callers = new Map(
      snapshot.callers.map(({ id, carry, own }) => [
        id,
        { carry: carry === undefined ? undefined : ScopeSet.of(carry), own: ScopeSet.of(own) },
      ]),
    );
    this.#undeclared = new Set(snapshot.undeclared);
  }

  /**
   * Decides one request. The token is verified already; here it meets the peer and the route, as one condition (PAINS.md P16).
   * Audit mode softens a missing rule only.
   */
  decide(request: InboundRequest): InboundPermit | Denial {
    const { token, left, isRouter } = request;
    if (token !== undefined && !isRouter && left === undefined) {
      return deny('hop_missing', { condition: 'hop', expected: 'cellmesh-left from the hop before', actual: 'none' });
    }
    const granted = this.#granted(request);
    let nearest: Miss | undefined;
    for (const rule of this.#rules) {
      const failed = this.#firstFailed(rule, request, granted);
      if (failed === undefined) return permit({ rule: rule.source.name, granted, token, audited: undefined });
      if (nearest === undefined || rank[failed] > rank[nearest.condition]) nearest = { rule, condition: failed };
    }
    const denial = this.#denialOf(nearest, request, granted);
    return this.snapshot.mode === 'audit' && !denial.reason.startsWith('token_')
      ? permit({ rule: undefined, granted, token, audited: denial })
      : denial;
  }

  /** Token scope, intersected with what is left, with what the caller may carry to here; without a customer, the caller's own. */
  #granted({ peer, isRouter, token, left }: InboundRequest): ScopeSet {
    const caller = this.#callers.get(peer);
    if (token === undefined) return caller?.own ?? ScopeSet.empty;
    if (isRouter || left === undefined) return token.scopes;
    const remaining = token.scopes.intersect(left);
    return caller?.carry === undefined ? remaining : remaining.intersect(caller.carry);
  }

  #firstFailed({ source, ids, methods }: Rule, request: InboundRequest, granted: ScopeSet): Condition | undefined {
    const { peer, isRouter, path, port, method, token } = request;
    if (source.port !== undefined && source.port !== port) return 'port';
    if (source.paths !== undefined && !source.paths.some((pattern) => matchesPath(pattern, path))) return 'path';
    if (methods !== undefined && !methods.has(method)) return 'method';
    if (isRouter) {
      if (!source.isRouterAllowed) return 'peer';
    } else if (ids.has(peer)) {
      if (this.#undeclared.has(peer)) return 'declared';
    } else if (!source.isAnyAllowed) return 'peer';
    else if (!this.#callers.has(peer)) return 'declared';
    if (source.account === 'required' && token?.account === undefined) return 'account';
    for (const scope of source.scopes) if (!granted.has(scope)) return 'scopes';
    return undefined;
  }

  #denialOf(miss: Miss | undefined, request: InboundRequest, granted: ScopeSet): Denial {
    if (miss === undefined)
      return deny('route_not_allowed', { condition: 'rule', expected: 'a rule', actual: 'the manifest has none' });
    const { source } = miss.rule;
    const failed = (expected: string, actual: string) => ({
      rule: source.name,
      condition: miss.condition,
      expected,
      actual,
    });
    const paths = source.paths?.map(({ text }) => text).join(' or ') ?? 'any path';
    switch (miss.condition) {
      case 'port':
        return deny('route_not_allowed', failed(`port ${source.port}`, `port ${request.port}`));
      case 'path':
        return deny('route_not_allowed', failed(paths, request.path));
      case 'method':
        return deny('route_not_allowed', failed(source.methods?.join(' or ') ?? 'any method', request.method));
      case 'peer':
        return deny('peer_not_allowed', failed(peersOf(source), request.peer));
      case 'declared':
        return deny('peer_not_declared', failed(`${request.peer} to declare the call`, 'its manifest does not'));
      case 'account':
        return deny('token_missing', failed('a customer', 'no token'));
      case 'scopes':
        return this.#scopeDenial(source, request, granted, failed);
    }
  }

  #scopeDenial(
    source: SnapshotRule,
    { token, left }: InboundRequest,
    granted: ScopeSet,
    failed: (expected: string, actual: string) => Denial['failed'],
  ): Denial {
    const missing = source.scopes.filter((scope) => !granted.has(scope));
    const expected = source.scopes.join(' ');
    if (token === undefined) return deny('scope_not_own', failed(expected, `own: ${granted.text || 'none'}`));
    const isHeld = missing.every((scope) => token.scopes.has(scope));
    const reason: Reason = isHeld ? 'scope_not_carried' : 'scope_missing';
    const actual = isHeld
      ? `left after carry: ${granted.text || 'none'} (token: ${token.scopes.text}; left before: ${left?.text || 'none'})`
      : `token: ${token.scopes.text || 'none'}`;
    return deny(reason, failed(expected, actual));
  }
}

function peersOf({ ids, isRouterAllowed, isAnyAllowed }: SnapshotRule): string {
  return [...ids, ...(isRouterAllowed ? ['router'] : []), ...(isAnyAllowed ? ['any'] : [])].join(' or ');
}
