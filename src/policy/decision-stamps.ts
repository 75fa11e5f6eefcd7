import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';

const randomDigits = 6;
const sequences = 36 ** 3;
/** All of one, two or three digits, by their number. */
const digits = (count: number, base: number) =>
  Array.from({ length: base ** count }, (_, n) => n.toString(base).padStart(count, '0'));
const twoOf36 = digits(2, 36);
const oneOf36 = digits(1, 36);
const threeOf10 = digits(3, 10);
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
  #second = Number.NaN;
  #secondText = '';
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

  /** `nowMs`: by the clock, of somebody who has asked it already. */
  next(nowMs = this.#clock.now()): DecisionStamp {
    const now = Math.floor(nowMs);
    if (now !== this.#now) {
      this.#now = now;
      this.#time = this.#timeOf(now);
      // Joined, it is one piece of memory: it is copied with each id.
      this.#idStart = [this.#instance, now.toString(36).padStart(9, '0')].join('.');
    }
    this.#sequence = this.#sequence + 1 === sequences ? 0 : this.#sequence + 1;
    const high = Math.floor(this.#sequence / 36);
    const sequence = twoOf36[high]! + oneOf36[this.#sequence - high * 36]!;
    return { id: this.#idStart + (sequence + this.#randomDigits()), time: this.#time };
  }

  /** As `toISOString` has it, which takes as long as half a record: its seconds are remembered. */
  #timeOf(now: number): string {
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = new Date(second * 1000).toISOString().slice(0, -'000Z'.length);
    }
    return `${this.#secondText}${threeOf10[now - second * 1000]}Z`;
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
