import type { Clock, Scheduled } from '#runtime/clock.ts';

/**
 * A time-out that is moved for every request and almost never fires. Moving it later costs no timer: the running one looks
 * at the deadline when it fires and goes on for the rest.
 */
export class Deadline {
  readonly #clock: Clock;
  readonly #onExpired: () => void;
  #at = Number.POSITIVE_INFINITY;
  #timer: Scheduled | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, onExpired: () => void) {
    this.#clock = clock;
    this.#onExpired = onExpired;
  }

  get isSet(): boolean {
    return this.#at !== Number.POSITIVE_INFINITY;
  }

  /** `now`: of the clock, where the caller has just asked it. */
  set(delayMs: number, now: number = this.#clock.monotonic()): void {
    this.#at = now + delayMs;
    if (this.#timerAt > this.#at) this.#start(now);
  }

  clear(): void {
    this.#at = Number.POSITIVE_INFINITY;
  }

  /** For the owner's end: no timer is left behind. */
  dispose(): void {
    this.clear();
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  #start(now: number): void {
    this.#timer?.cancel();
    this.#timerAt = this.#at;
    this.#timer = this.#clock.schedule(this.#at - now, () => this.#fired());
  }

  #fired(): void {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    if (!this.isSet) return;
    const now = this.#clock.monotonic();
    // setTimeout counts whole milliseconds and may come a fraction early.
    if (now + 1 < this.#at) {
      this.#start(now);
      return;
    }
    this.#at = Number.POSITIVE_INFINITY;
    this.#onExpired();
  }
}
