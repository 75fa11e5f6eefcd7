import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';

const randomBytes = 3;

/**
 * Ids of decisions: `<instance>.<time><sequence><random>`, so that an id says who decided and when, sorts by time within an instance, and is
 * not guessed by somebody who has seen another. Letters, digits, `-` and `.` only: it stands in URLs and shells as it is.
 */
export class DecisionIds {
  readonly #instance: string;
  readonly #clock: Clock;
  readonly #random: Random;
  #sequence = 0;

  constructor(instance: string, clock: Clock, random: Random) {
    this.#instance = instance;
    this.#clock = clock;
    this.#random = random;
  }

  next(): string {
    this.#sequence = (this.#sequence + 1) % 36 ** 3;
    const time = Math.floor(this.#clock.now()).toString(36).padStart(9, '0');
    const sequence = this.#sequence.toString(36).padStart(3, '0');
    return `${this.#instance}.${time}${sequence}${this.#random.bytes(randomBytes).toString('hex')}`;
  }
}
