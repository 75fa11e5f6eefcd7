import type { Clock } from '#runtime/clock.ts';

const everyMs = 250;
/** The clock is not asked for every record. */
const decisionsPerLook = 256;

/** One line on a terminal that says how many decisions were read, how fast, and how much of all that is; nothing anywhere else. */
export class ReadingProgress implements Disposable {
  readonly #output: NodeJS.WriteStream;
  readonly #clock: Clock;
  readonly #total: number | undefined;
  readonly #begun: number;
  #decisions = 0;
  #read = 0;
  #shownAt: number;
  #isShown = false;

  /** @param total what `read` adds up to, where it is known */
  constructor(output: NodeJS.WriteStream, clock: Clock, total?: number) {
    this.#output = output;
    this.#clock = clock;
    this.#total = total;
    this.#begun = clock.monotonic();
    this.#shownAt = this.#begun;
  }

  read(amount: number): void {
    this.#read += amount;
  }

  decision(): void {
    this.#decisions++;
    if (this.#decisions % decisionsPerLook !== 0 || !this.#output.isTTY) return;
    const now = this.#clock.monotonic();
    if (now - this.#shownAt < everyMs) return;
    this.#shownAt = now;
    this.#isShown = true;
    const rate = Math.round((this.#decisions * 1000) / (now - this.#begun));
    const share = this.#total ? `, ${Math.floor((100 * this.#read) / this.#total)} %` : '';
    this.#output.write(`\r\x1b[2K${number(this.#decisions)} decisions read, ${number(rate)} a second${share}`);
  }

  [Symbol.dispose](): void {
    if (this.#isShown) this.#output.write('\r\x1b[2K');
  }
}

function number(count: number): string {
  return count.toLocaleString('en-US');
}
