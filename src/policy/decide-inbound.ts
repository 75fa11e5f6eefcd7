import { ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import { type Pointer, parsePointer } from './claim-condition.ts';
import { type Denial, deny, type Permit, permit } from './decide.ts';
import { denialOf } from './describe-failure.ts';
import { type Peer, unmeshed } from './peer-pattern.ts';
import type { Reason } from './reasons.ts';
import { isInRollout } from './rollout.ts';
import { type Declarations, type InboundRequest, Rule } from './rule.ts';
import { RuleIndex } from './rule-index.ts';
import type { PolicySnapshot, SnapshotRule } from './snapshot.ts';

/** The rates of rules, counted by whoever serves. */
export interface Budgets {
  /** Counts a request against all limits of a rule, and returns 0; or against none of them, and returns the milliseconds after which it would pass. */
  take(rule: SnapshotRule, request: InboundRequest): number;
}

interface InboundGrant {
  readonly rule: string | undefined;
  /** When the rule ends. Milliseconds since the epoch. */
  readonly untilMs: number | undefined;
  /** The scopes in force at this hop: what the application is told, and what is left for the next hop. */
  readonly granted: ScopeSet;
  readonly token: VerifiedToken | undefined;
  /** In audit mode: the denial that would have been. */
  readonly audited: Denial | undefined;
  /** Where there is a candidate. */
  readonly candidate?: CandidateVerdict;
}

export type InboundPermit = Permit<InboundGrant>;

interface InboundDenial extends Denial {
  readonly candidate?: CandidateVerdict;
}

/** What the version beside the one in force says of a request. */
export interface CandidateVerdict {
  readonly version: string;
  readonly outcome: 'permit' | 'deny';
  readonly rule?: string;
  readonly reason?: Reason;
  /** Whether it, and not the other, is what counted. */
  readonly isInForce: boolean;
  /** What the version in force said. */
  readonly before: 'permit' | 'deny';
}

interface Caller {
  readonly carry: ScopeSet | undefined;
  readonly own: ScopeSet;
}

interface Version {
  readonly mode: 'audit' | 'enforce';
  readonly index: RuleIndex;
}

/** A service's inbound policy, ready to decide. Built once per snapshot. */
export class InboundPolicy implements Declarations {
  readonly snapshot: PolicySnapshot;
  readonly #inForce: Version;
  readonly #candidate: Version | undefined;
  readonly #callers: ReadonlyMap<Peer, Caller>;
  readonly #undeclared: ReadonlySet<Peer>;
  /** What rules ask of tokens beyond the claims that every record has. */
  readonly claimPointers: readonly Pointer[];
  readonly #ceilingOfRouters: ScopeSet | undefined;

  constructor(snapshot: PolicySnapshot) {
    this.snapshot = snapshot;
    this.#inForce = versionOf(snapshot);
    this.#candidate = snapshot.candidate && versionOf(snapshot.candidate);
    this.#callers = new Map(
      snapshot.callers.map(({ id, carry, own }) => [
        id,
        { carry: carry === undefined ? undefined : ScopeSet.of(carry), own: ScopeSet.of(own) },
      ]),
    );
    this.#undeclared = new Set(snapshot.undeclared);
    this.claimPointers = pointersOf([...snapshot.rules, ...(snapshot.candidate?.rules ?? [])]);
    this.#ceilingOfRouters = snapshot.routerCarry && ScopeSet.of(snapshot.routerCarry);
  }

  /**
   * Decides one request. The token is verified already; here it meets the peer and the route, as one condition (PAINS.md P16).
   * Audit mode softens what rules say only. Without `budgets`, as for a stream that is open, limits are not asked.
   */
  decide(request: InboundRequest, budgets?: Budgets): InboundPermit | InboundDenial {
    const { token, left, isRouter } = request;
    if (request.peer === unmeshed && !this.takesPlaintext(request.nowMs)) return this.#plaintextRefused(request);
    if (token !== undefined && !isRouter && left === undefined) return hopMissing;
    const granted = this.grantedTo(request);
    const candidate = this.#candidate;
    if (candidate === undefined) return this.#verdict(this.#inForce, request, granted, budgets);
    const { version, percent } = this.snapshot.candidate!;
    const isInForce = isInRollout(token?.account, percent);
    const before = this.#verdict(this.#inForce, request, granted, isInForce ? undefined : budgets);
    const after = this.#verdict(candidate, request, granted, isInForce ? budgets : undefined);
    return {
      ...(isInForce ? after : before),
      candidate: { version, isInForce, before: before.outcome, ...told(after) },
    };
  }

  /** Token scope, intersected with what is left, with what the caller may carry to here; without a customer, the caller's own. */
  grantedTo({ peer, isRouter, token, left }: InboundRequest): ScopeSet {
    const caller = this.#callers.get(peer);
    if (token === undefined) return caller?.own ?? ScopeSet.empty;
    const ceiling = isRouter ? this.#ceilingOfRouters : caller?.carry;
    // In this order each set meets the one that it met last, and remembers.
    const allowed = isRouter || left === undefined ? ceiling : ceiling === undefined ? left : left.intersect(ceiling);
    return allowed === undefined ? token.scopes : token.scopes.intersect(allowed);
  }

  /** Whether callers without TLS are heard at a moment: milliseconds since the epoch. */
  takesPlaintext(nowMs: number): boolean {
    const { plaintextUntilMs } = this.snapshot;
    return plaintextUntilMs !== undefined && nowMs < plaintextUntilMs;
  }

  isDeclared(peer: Peer): boolean {
    return this.#callers.has(peer);
  }

  isUndeclared(peer: Peer): boolean {
    return this.#undeclared.has(peer);
  }

  #verdict({ mode, index }: Version, request: InboundRequest, granted: ScopeSet, budgets: Budgets | undefined) {
    const { token } = request;
    index.find(request);
    let limited: Rule | undefined;
    let waitMs = Number.POSITIVE_INFINITY;
    for (let rule = index.firstThatHolds(request, granted, this, -1); rule !== undefined; ) {
      const { name, untilMs, limits } = rule.source;
      const wait = limits.length === 0 || budgets === undefined ? 0 : budgets.take(rule.source, request);
      if (wait === 0) return permit({ outcome: 'permit', rule: name, untilMs, granted, token, audited: undefined });
      limited ??= rule;
      waitMs = Math.min(waitMs, wait);
      rule = index.firstThatHolds(request, granted, this, rule.index);
    }
    const denial =
      limited === undefined
        ? this.#nearest(index, request, granted)
        : { ...denialOf(limited, 'limit', request, granted), retryAfterMs: waitMs };
    // Audit softens a missing rule, never mutual TLS: without it a caller has a rule or no access.
    return mode === 'audit' && request.peer !== unmeshed
      ? permit({ outcome: 'permit', rule: undefined, untilMs: undefined, granted, token, audited: denial })
      : denial;
  }

  #plaintextRefused({ nowMs }: InboundRequest): Denial {
    const { plaintextUntilMs } = this.snapshot;
    return deny('plaintext_not_allowed', {
      condition: 'call',
      expected: plaintextUntilMs === undefined ? 'mutual TLS' : `mutual TLS since ${timeText(plaintextUntilMs)}`,
      actual: `a connection without TLS at ${timeText(nowMs)}`,
    });
  }

  #nearest(index: RuleIndex, request: InboundRequest, granted: ScopeSet): Denial {
    const miss = index.nearestForPeer(request, granted, this) ?? index.nearestForOthers(request);
    return miss === undefined ? noRules : denialOf(miss.rule, miss.condition, request, granted);
  }
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

function pointersOf(rules: readonly SnapshotRule[]): readonly Pointer[] {
  const texts = new Set(rules.flatMap(({ claims }) => claims.map(({ pointer }) => pointer)));
  return [...texts].sort().map(parsePointer);
}

function versionOf({ mode, rules }: Pick<PolicySnapshot, 'mode' | 'rules'>): Version {
  return { mode, index: new RuleIndex(rules.map((source, at) => new Rule(source, at))) };
}

/** What audit mode let pass is a denial of the version. */
function told(verdict: InboundPermit | Denial): Pick<CandidateVerdict, 'outcome' | 'rule' | 'reason'> {
  const denial = verdict.outcome === 'deny' ? verdict : verdict.audited;
  if (denial !== undefined) return { outcome: 'deny', reason: denial.reason };
  const { rule } = verdict as InboundPermit;
  return { outcome: 'permit', ...(rule !== undefined && { rule }) };
}

const noRules = deny('route_not_allowed', {
  condition: 'rule',
  expected: 'a rule',
  actual: 'the manifest has none',
});

const hopMissing = deny('hop_missing', {
  condition: 'hop',
  expected: 'cellmesh-left from the hop before',
  actual: 'none',
});
