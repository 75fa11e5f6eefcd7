import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';

const randomDigits = 6;
/** What three digits of base 36 count. */
const threeDigits = 36 ** 3;
/** What five of them count: 16.8 hours. */
const dayMs = 36 ** 5;
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
  /** Of the time, in pieces of `dayMs`. */
  #day = Number.NaN;
  #dayStart = '';
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
      this.#idStart = this.#idStartOf(now);
    }
    this.#sequence = this.#sequence + 1 === threeDigits ? 0 : this.#sequence + 1;
    return { id: this.#idStart + (threeOf36(this.#sequence) + this.#randomDigits()), time: this.#time };
  }

  /** Instance and time, the time in nine digits of base 36: numbers of that size are slow to write. */
  #idStartOf(now: number): string {
    const day = Math.floor(now / dayMs);
    if (day !== this.#day) {
      this.#day = day;
      // Joined, it is one piece of memory: it is copied with each id.
      this.#dayStart = [this.#instance, day.toString(36).padStart(4, '0')].join('.');
    }
    const rest = now - day * dayMs;
    const high = Math.floor(rest / threeDigits);
    return this.#dayStart + (twoOf36[high]! + threeOf36(rest - high * threeDigits));
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

function threeOf36(number: number): string {
  const high = Math.floor(number / 36);
  return twoOf36[high]! + oneOf36[number - high * 36]!;
}
