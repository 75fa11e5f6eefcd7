import type { Clock } from '#runtime/clock.ts';
import type { FeedType } from './snapshot.ts';

/** A clock is set back by hours, not by weeks; a number beyond that is a lie that would use the range up. */
const aheadMsMax = 7 * 24 * 3600_000;

interface Revised {
  readonly revision: number;
  readonly madeAt: number;
}

/**
 * Revisions that rise, over restarts too, without a store: the time of the change in milliseconds, or one more than the last. A clock
 * that was set back is outlived by remembering what subscribers hold.
 */
export class Revisions {
  readonly #clock: Clock;
  readonly #current = new Map<FeedType, Revised>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The state of `type` is another than before. */
  revise(type: FeedType): void {
    const now = this.#clock.now();
    this.#current.set(type, { revision: Math.max(now, (this.#current.get(type)?.revision ?? 0) + 1), madeAt: now });
  }

  /** Never below what somebody holds. */
  of(type: FeedType): Revised {
    if (!this.#current.has(type)) this.revise(type);
    return this.#current.get(type)!;
  }

  /** A subscriber holds a revision from before. */
  seen(type: FeedType, revision: number): void {
    const { revision: current, madeAt } = this.of(type);
    if (revision >= current && revision < this.#clock.now() + aheadMsMax)
      this.#current.set(type, { revision: revision + 1, madeAt });
  }
}
