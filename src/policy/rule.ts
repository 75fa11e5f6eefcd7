import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { Scope, ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import type { CanonicalPath } from './canonical-path.ts';
import { type ClaimCondition, matchesClaim, type Pointer, parsePointer, valueAt } from './claim-condition.ts';
import type { Condition } from './decide.ts';
import { matchesPath, matchesSegments } from './path-pattern.ts';
import { type Peer, unmeshed } from './peer-pattern.ts';
import type { SnapshotRule } from './snapshot.ts';

/** What is decided about, on the way in. */
export interface InboundRequest {
  readonly peer: Peer;
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
  /** Of a decision that is made again: what was recorded of a claim. */
  readonly claimAt?: (pointer: Pointer) => unknown;
}

/** Which peers declare the call to this service, of those that could. */
export interface Declarations {
  /** Whether the peer has a manifest that declares this call. */
  isDeclared(peer: Peer): boolean;
  /** Whether the peer has a manifest, and it does not declare this call. */
  isUndeclared(peer: Peer): boolean;
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

  takesMethod(method: string): boolean {
    const { methods } = this.source;
    return methods === undefined || methods.includes(method);
  }

  /** The first of the conditions after `peer` that does not hold. */
  failedOfPeer(request: InboundRequest, granted: ScopeSet, declarations: Declarations): Condition | undefined {
    if (!this.#isDeclared(request, declarations)) return 'declared';
    if (!this.#isInTime(request)) return 'until';
    if (!this.#isAccount(request.token)) return 'account';
    if (!this.#isActor(request.token)) return 'actor';
    if (this.#claims.length > 0 && this.failedClaim(request) !== undefined) return 'claims';
    if (!this.#areScopes(granted)) return 'scopes';
    return undefined;
  }

  /** Whether one condition holds, whatever the others do. A limit always does: it is counted elsewhere. */
  holds(condition: Condition, request: InboundRequest, granted: ScopeSet, declarations: Declarations): boolean {
    const { port, paths } = this.source;
    switch (condition) {
      case 'port':
        return port === undefined || port === request.port;
      case 'path':
        return paths === undefined || paths.some((pattern) => matchesPath(pattern, request.path));
      case 'method':
        return this.takesMethod(request.method);
      case 'peer':
        return this.isFor(request);
      case 'declared':
        return this.#isDeclared(request, declarations);
      case 'until':
        return this.#isInTime(request);
      case 'account':
        return this.#isAccount(request.token);
      case 'actor':
        return this.#isActor(request.token);
      case 'claims':
        return this.failedClaim(request) === undefined;
      case 'scopes':
        return this.#areScopes(granted);
      case 'limit':
        return true;
    }
  }

  /** The first condition on claims that does not hold. */
  failedClaim(request: InboundRequest): ClaimCondition | undefined {
    for (const { condition, pointer } of this.#claims)
      if (request.token === undefined || !matchesClaim(condition, claimAt(request, pointer))) return condition;
    return undefined;
  }

  isFor({ peer, isRouter }: InboundRequest): boolean {
    const { isRouterAllowed, isAnyAllowed, isUnmeshedAllowed, idPatterns } = this.source;
    if (peer === unmeshed) return isUnmeshedAllowed;
    if (isRouter) return isRouterAllowed;
    return this.#names(peer) || isAnyAllowed || idPatterns.some((pattern) => matchesSegments(pattern, peer, 0));
  }

  /** Whoever is named to the letter may have no manifest; whoever is meant by `any` or a pattern must have one that declares the call. */
  #isDeclared({ peer, isRouter }: InboundRequest, declarations: Declarations): boolean {
    if (isRouter || peer === unmeshed) return true;
    return this.#names(peer) ? !declarations.isUndeclared(peer) : declarations.isDeclared(peer);
  }

  #isInTime({ nowMs }: InboundRequest): boolean {
    const { untilMs } = this.source;
    return untilMs === undefined || nowMs < untilMs;
  }

  #isAccount(token: VerifiedToken | undefined): boolean {
    return this.source.account === 'none' || token?.account !== undefined;
  }

  #isActor(token: VerifiedToken | undefined): boolean {
    const { actor } = this.source;
    if (actor === undefined) return true;
    if (actor === 'none') return token?.actor === undefined;
    return token?.actor !== undefined && (actor === 'required' || actor.includes(token.actor));
  }

  #areScopes(granted: ScopeSet): boolean {
    const { scopes, anyScope } = this.source;
    return holdsAll(scopes, granted) && (anyScope === undefined || holdsOne(anyScope, granted));
  }

  #names(peer: SpiffeId): boolean {
    return this.#ids === undefined ? this.source.ids.includes(peer) : this.#ids.has(peer);
  }
}

/** The value that a rule's condition on claims is held against. */
export function claimAt({ token, claimAt: recorded }: InboundRequest, pointer: Pointer): unknown {
  return recorded === undefined ? valueAt(token?.claims, pointer.steps) : recorded(pointer);
}

function holdsAll(scopes: readonly Scope[], granted: ScopeSet): boolean {
  for (const scope of scopes) if (!granted.has(scope)) return false;
  return true;
}

function holdsOne(scopes: readonly Scope[], granted: ScopeSet): boolean {
  for (const scope of scopes) if (granted.has(scope)) return true;
  return false;
}
