import type { Clock, Scheduled } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Refusal } from './accept.ts';

/** A line a minute for one address and rule: who sends a thousand wrong handshakes a second shall not write the log. */
export const refusalIntervalMs = 60_000;
/** Pairs of address and rule that are told apart; what comes beyond is counted under the address `*`. */
export const refusalEntriesMax = 1_000;

interface Entry {
  readonly refusal: Refusal;
  /** Refusals since the last line. */
  count: number;
  timer: Scheduled;
}

/** Logs the first refusal of an address by a rule at once, the following ones once a minute with their count. */
export class RefusalLog implements Disposable {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #entries = new Map<string, Entry>();

  constructor({ clock, logger }: { clock: Clock; logger: Logger }) {
    this.#clock = clock;
    this.#logger = logger;
  }

  record(refusal: Refusal): void {
    const known = this.#entries.get(keyOf(refusal));
    if (known !== undefined) known.count++;
    else if (this.#entries.size < refusalEntriesMax || refusal.address === anyAddress) this.#begin(refusal);
    else this.record({ ...refusal, address: anyAddress });
  }

  /** Writes what is still uncounted, and forgets all. */
  [Symbol.dispose](): void {
    for (const entry of this.#entries.values()) {
      entry.timer.cancel();
      if (entry.count > 0) this.#write(entry.refusal, entry.count);
    }
    this.#entries.clear();
  }

  #begin(refusal: Refusal): void {
    this.#entries.set(keyOf(refusal), { refusal, count: 0, timer: this.#later(refusal) });
    this.#write(refusal, 1);
  }

  #later(refusal: Refusal): Scheduled {
    return this.#clock.schedule(refusalIntervalMs, () => {
      const key = keyOf(refusal);
      const entry = this.#entries.get(key);
      if (entry === undefined) return;
      if (entry.count === 0) {
        this.#entries.delete(key);
        return;
      }
      this.#write(refusal, entry.count);
      entry.count = 0;
      entry.timer = this.#later(refusal);
    });
  }

  #write({ address, rule, reason }: Refusal, count: number): void {
    this.#logger.warn('a connection was refused', { address, rule, reason, count });
  }
}

/** Only as many of these entries as there are rules can come on top of the bound. */
const anyAddress = '*';

function keyOf({ address, rule }: Refusal): string {
  return `${address} ${rule}`;
}
