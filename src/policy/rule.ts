import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import type { CanonicalPath } from './canonical-path.ts';
import { type ClaimCondition, matchesClaim, type Pointer, parsePointer, valueAt } from './claim-condition.ts';
import type { Condition } from './decide.ts';
import { matchesPath, matchesSegments } from './path-pattern.ts';
import type { SnapshotRule } from './snapshot.ts';

/** What is decided about, on the way in. */
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
  /** For rules that end. Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** Which peers declare the call to this service, of those that could. */
export interface Declarations {
  /** Whether the peer has a manifest that declares this call. */
  isDeclared(peer: SpiffeId): boolean;
  /** Whether the peer has a manifest, and it does not declare this call. */
  isUndeclared(peer: SpiffeId): boolean;
}

interface Claim {
  readonly condition: ClaimCondition;
  readonly pointer: Pointer;
}

/** A list of more is looked up by a set. */
const idsMax = 8;

/** One rule of a manifest, ready to be tried. */
export class Rule {
  readonly source: SnapshotRule;
  /** Where it stands in the manifest: of several that allow, the first is named. */
  readonly index: number;
  /** Where the rule names many. */
  readonly #ids: ReadonlySet<SpiffeId> | undefined;
  readonly #claims: readonly Claim[];

  constructor(source: SnapshotRule, index: number) {
    this.source = source;
    this.index = index;
    this.#ids = source.ids.length > idsMax ? new Set(source.ids) : undefined;
    this.#claims = source.claims.map((condition) => ({ condition, pointer: parsePointer(condition.pointer) }));
  }

  /** The first condition that does not hold; a limit is asked for elsewhere. */
  firstFailed(request: InboundRequest, granted: ScopeSet, declarations: Declarations): Condition | undefined {
    const { port, paths } = this.source;
    if (port !== undefined && port !== request.port) return 'port';
    if (paths !== undefined && !paths.some((pattern) => matchesPath(pattern, request.path))) return 'path';
    if (!this.takesMethod(request.method)) return 'method';
    if (!this.isFor(request)) return 'peer';
    return this.failedOfPeer(request, granted, declarations);
  }

  takesMethod(method: string): boolean {
    const { methods } = this.source;
    return methods === undefined || methods.includes(method);
  }

  /** The first of the conditions after `peer` that does not hold. */
  failedOfPeer(request: InboundRequest, granted: ScopeSet, declarations: Declarations): Condition | undefined {
    const { untilMs, account, scopes, anyScope } = this.source;
    const { token } = request;
    if (!this.#isDeclared(request, declarations)) return 'declared';
    if (untilMs !== undefined && request.nowMs >= untilMs) return 'until';
    if (account === 'required' && token?.account === undefined) return 'account';
    if (!this.#isActor(token)) return 'actor';
    if (this.failedClaim(token) !== undefined) return 'claims';
    for (const scope of scopes) if (!granted.has(scope)) return 'scopes';
    if (anyScope !== undefined && !anyScope.some((scope) => granted.has(scope))) return 'scopes';
    return undefined;
  }

  /** The first condition on claims that does not hold. */
  failedClaim(token: VerifiedToken | undefined): ClaimCondition | undefined {
    for (const { condition, pointer } of this.#claims)
      if (token === undefined || !matchesClaim(condition, valueAt(token.claims, pointer.steps))) return condition;
    return undefined;
  }

  isFor({ peer, isRouter }: InboundRequest): boolean {
    const { isRouterAllowed, isAnyAllowed, idPatterns } = this.source;
    if (isRouter) return isRouterAllowed;
    return this.#names(peer) || isAnyAllowed || idPatterns.some((pattern) => matchesSegments(pattern, peer, 0));
  }

  /** Whoever is named to the letter may have no manifest; whoever is meant by `any` or a pattern must have one that declares the call. */
  #isDeclared({ peer, isRouter }: InboundRequest, declarations: Declarations): boolean {
    if (isRouter) return true;
    return this.#names(peer) ? !declarations.isUndeclared(peer) : declarations.isDeclared(peer);
  }

  #isActor(token: VerifiedToken | undefined): boolean {
    const { actor } = this.source;
    if (actor === undefined) return true;
    if (actor === 'none') return token?.actor === undefined;
    return token?.actor !== undefined && (actor === 'required' || actor.includes(token.actor));
  }

  #names(peer: SpiffeId): boolean {
    return this.#ids === undefined ? this.source.ids.includes(peer) : this.#ids.has(peer);
  }
}
