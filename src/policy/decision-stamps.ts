import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';

const randomDigits = 6;
/** Random digits are asked for in stocks of as many ids. */
const idsPerStock = 64;

export interface DecisionStamp {
  readonly id: string;
  /** ISO 8601, milliseconds, UTC. */
  readonly time: string;
}

/**
 * Id and time of each decision. An id is `<instance>.<time><sequence><random>`: it says who decided and when, sorts by time within an
 * instance, and is not guessed by somebody who has seen another. Letters, digits, `-` and `.` only: it stands in URLs and shells as it is.
 */
export class DecisionStamps {
  readonly #instance: string;
  readonly #clock: Clock;
  readonly #random: Random;
  #sequence = 0;
  #now = Number.NaN;
  /** What it comes to in texts: many decisions share a millisecond. */
  #time = '';
  #idStart = '';
  #stock = '';
  #stockUsed = 0;

  constructor(instance: string, clock: Clock, random: Random) {
    this.#instance = instance;
    this.#clock = clock;
    this.#random = random;
  }

  next(): DecisionStamp {
    const now = Math.floor(this.#clock.now());
    if (now !== this.#now) {
      this.#now = now;
      this.#time = new Date(now).toISOString();
      // Joined, it is one piece of memory: it is copied with each id.
      this.#idStart = [this.#instance, now.toString(36).padStart(9, '0')].join('.');
    }
    this.#sequence = (this.#sequence + 1) % 36 ** 3;
    const sequence = this.#sequence.toString(36).padStart(3, '0');
    return { id: this.#idStart + (sequence + this.#randomDigits()), time: this.#time };
  }

  #randomDigits(): string {
    if (this.#stockUsed === this.#stock.length) {
      this.#stock = this.#random.bytes((randomDigits / 2) * idsPerStock).toString('hex');
      this.#stockUsed = 0;
    }
    this.#stockUsed += randomDigits;
    return this.#stock.slice(this.#stockUsed - randomDigits, this.#stockUsed);
  }
}
