/** A measurement is worth a third of itself after this time: long enough to be calm, short enough to forget a bad minute. */
const decayMs = 10_000;

/**
 * How slow something is lately: an exponentially weighted moving average that follows a rise at once and forgets it slowly (the "peak EWMA" of
 * Finagle). All times in milliseconds.
 */
export class PeakEwma {
  #value = 0;
  #at = 0;
  #isMeasured = false;

  get isMeasured(): boolean {
    return this.#isMeasured;
  }

  observe(latencyMs: number, now: number): void {
    const weight = this.#weightAt(now);
    const current = this.#value * weight;
    this.#value = !this.#isMeasured || latencyMs > current ? latencyMs : current + latencyMs * (1 - weight);
    this.#isMeasured = true;
    this.#at = now;
  }

  /** The average as of `now`: what has not been measured for long counts for less and less, so that it is tried again. */
  at(now: number): number {
    return this.#value * this.#weightAt(now);
  }

  /** Of what was measured before. */
  #weightAt(now: number): number {
    return Math.exp(-(now - this.#at) / decayMs);
  }
}
