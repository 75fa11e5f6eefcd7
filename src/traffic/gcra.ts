import type { Clock } from '#runtime/clock.ts';

interface Rate {
  readonly perMinute: number;
  /** How many may come at once after a pause. */
  readonly burst: number;
}

/** A flood of new keys must not make each of them walk through all the others. */
const sweepEveryMs = 1_000;

/**
 * The generic cell rate algorithm: one number a key, the time at which its next event would be on schedule. No windows, so no
 * double burst at their edges. Keys are bounded; an entry whose time has passed says nothing and goes first.
 */
export class RateLimiter {
  readonly #clock: Clock;
  readonly #keysMax: number;
  readonly #theoreticalArrival = new Map<string, number>();
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, keysMax = 100_000) {
    this.#clock = clock;
    this.#keysMax = keysMax;
  }

  /** Keys that are remembered. */
  get size(): number {
    return this.#theoreticalArrival.size;
  }

  /** Counts one event of `key`. Returns 0 when it is within the rate, otherwise how many milliseconds to wait. */
  take({ perMinute, burst }: Rate, key: string): number {
    const intervalMs = 60_000 / perMinute;
    const now = this.#clock.monotonic();
    const arrival = Math.max(this.#theoreticalArrival.get(key) ?? now, now);
    const earliest = arrival - (burst - 1) * intervalMs;
    if (earliest > now) return earliest - now;
    if (!this.#theoreticalArrival.has(key)) this.#makeRoom(now);
    this.#theoreticalArrival.set(key, arrival + intervalMs);
    return 0;
  }

  #makeRoom(now: number): void {
    if (this.#theoreticalArrival.size < this.#keysMax) return;
    if (now - this.#sweptAt >= sweepEveryMs) this.#sweep(now);
    // All of them are being limited: forgetting the oldest is kinder than refusing whoever is new.
    const oldest =
      this.#theoreticalArrival.size < this.#keysMax ? undefined : this.#theoreticalArrival.keys().next().value;
    if (oldest !== undefined) this.#theoreticalArrival.delete(oldest);
  }

  #sweep(now: number): void {
    this.#sweptAt = now;
    for (const [key, arrival] of this.#theoreticalArrival) if (arrival <= now) this.#theoreticalArrival.delete(key);
  }
}
