import type { Budgets } from '#policy/decide-inbound.ts';
import type { InboundRequest } from '#policy/rule.ts';
import type { RuleLimit } from '#policy/rule-conditions.ts';
import type { SnapshotRule } from '#policy/snapshot.ts';
import type { SharedLimit, SharedRateLimiter } from '#traffic/shared-rate-limiter.ts';

interface Counted {
  readonly per: RuleLimit['per'];
  readonly limit: SharedLimit;
}

/** The limits of rules, counted for all threads of this sidecar together. */
export class RuleBudgets implements Budgets {
  readonly #limiter: SharedRateLimiter;
  /** A new snapshot has new rules; what was counted goes on by their names. */
  readonly #counted = new WeakMap<SnapshotRule, readonly Counted[]>();

  constructor(limiter: SharedRateLimiter) {
    this.#limiter = limiter;
  }

  take(rule: SnapshotRule, request: InboundRequest): number {
    const counted = this.#countedOf(rule);
    let waitMs = 0;
    for (const { per, limit } of counted) waitMs = Math.max(waitMs, this.#limiter.waitMs(limit, keyOf(per, request)));
    if (waitMs > 0) return waitMs;
    for (const { per, limit } of counted) this.#limiter.take(limit, keyOf(per, request));
    return 0;
  }

  #countedOf(rule: SnapshotRule): readonly Counted[] {
    let counted = this.#counted.get(rule);
    if (counted === undefined) {
      counted = rule.limits.map((limit, place) => {
        return { per: limit.per, limit: this.#limiter.limit(`${rule.name} ${place} ${limit.per}`, limit) };
      });
      this.#counted.set(rule, counted);
    }
    return counted;
  }
}

function keyOf(per: RuleLimit['per'], { token, peer }: InboundRequest): string {
  switch (per) {
    case 'account':
      return token?.account ?? '';
    case 'peer':
      return peer;
    case 'rule':
      return '';
  }
}
