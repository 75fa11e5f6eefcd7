import type { Writable } from 'node:stream';
import type { Clock } from '#runtime/clock.ts';

/** What a start is doing, a line for each step. */
export class Progress {
  readonly #output: Writable;
  readonly #clock: Clock;

  constructor(output: Writable, clock: Clock) {
    this.#output = output;
    this.#clock = clock;
  }

  say(text: string): void {
    this.#output.write(`${text}\n`);
  }

  /** Says what is begun, and how long it took. */
  async step<T>(title: string, run: () => Promise<T>): Promise<T> {
    const begun = this.#clock.monotonic();
    this.#output.write(`  ${title.padEnd(58)}`);
    try {
      const result = await run();
      this.#output.write(` ${((this.#clock.monotonic() - begun) / 1000).toFixed(1)} s\n`);
      return result;
    } catch (error) {
      this.#output.write(' failed\n');
      throw error;
    }
  }
}
