import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';

interface PermitSamplingOptions {
  /** Of all permits, from 0 to 1. */
  readonly share: number;
  /** Of those, no more than so many. */
  readonly perSecond: number;
  readonly clock: Clock;
  readonly random: Random;
}

/** Where all is spent, the clock is asked no more often: asking it for each permit would cost more than leaving it out. */
const refillEveryMs = 10;
/** After a pause, as many seconds' worth of permits may be taken at once. */
const burstSeconds = 10;

/**
 * Which permits are told: a share, each as likely as any other, and no more than so many a second. A busy service would otherwise spend more on
 * telling of requests than on deciding them.
 */
export class PermitSampling {
  readonly #options: PermitSamplingOptions;
  readonly #allowanceMax: number;
  #allowance: number;
  #allowanceAt: number;
  #isRefilled = false;
  /** Permits to leave out until the next: drawn once for many, since a random number costs as much as a record. */
  #gap: number;

  constructor(options: PermitSamplingOptions) {
    this.#options = options;
    this.#allowanceMax = options.perSecond * burstSeconds;
    this.#allowance = this.#allowanceMax;
    this.#allowanceAt = options.clock.monotonic();
    this.#gap = this.#nextGap();
  }

  /** Whether this one is taken. */
  take(): boolean {
    if (this.#gap > 0) {
      this.#gap--;
      return false;
    }
    this.#gap = this.#nextGap();
    if (this.#allowance < 1 && !this.#isRefilled) this.#refill();
    if (this.#allowance < 1) return false;
    this.#allowance--;
    return true;
  }

  /** Geometrically distributed, as are the gaps between throws that succeed with a probability of `share`. */
  #nextGap(): number {
    const { share, random } = this.#options;
    if (share >= 1) return 0;
    return share <= 0 ? Number.POSITIVE_INFINITY : Math.floor(Math.log(1 - random.fraction()) / Math.log(1 - share));
  }

  #refill(): void {
    const { clock, perSecond } = this.#options;
    const now = clock.monotonic();
    const earned = ((now - this.#allowanceAt) / 1000) * perSecond;
    this.#allowance = Math.min(this.#allowanceMax, this.#allowance + earned);
    this.#allowanceAt = now;
    this.#isRefilled = true;
    clock.schedule(refillEveryMs, () => {
      this.#isRefilled = false;
    });
  }
}
