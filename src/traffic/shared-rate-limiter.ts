import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';
import { KeyedHash } from './keyed-hash.ts';

/** Made by `SharedRateLimiter.limit` only. */
export interface SharedLimit {
  /** Milliseconds from one event to the next, on schedule. */
  readonly intervalMs: number;
  /** How far ahead of its schedule an event may be. */
  readonly toleranceMs: number;
  readonly salt0: number;
  readonly salt1: number;
}

interface SharedRateLimiterOptions {
  /** Of `sharedRateLimiterMemory`, the same for all threads. */
  readonly memory: SharedArrayBuffer;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** What this thread's monotonic clock lacks to that of the others (`monotonicOffsetMs` of runtime/clock.ts). Default 0. */
  readonly offsetMs?: number;
}

/** Keys that have the same home share as many places, next to each other. */
const setSlots = 8;
/** Two words of the key, one of the count of sets, one that keeps what follows aligned. */
const headerWords = 4;
/** A set is held for some tens of nanoseconds. Whoever holds it for longer than so many looks was stopped in the middle, */
const spinsMax = 100;
/** and goes on when the others let it have the processor, a millisecond each time; or never does, where its thread was ended. */
const pausesMax = 20;
/** Of keys that are remembered by default. Each costs 16 bytes. */
const keysMaxDefault = 128 * 1024;

/** What threads share: a table with room for `keysMax` keys at least, and a secret of its own. */
export function sharedRateLimiterMemory(random: Random, keysMax = keysMaxDefault): SharedArrayBuffer {
  let sets = 2;
  while (sets * setSlots < keysMax) sets *= 2;
  const memory = new SharedArrayBuffer(4 * (headerWords + sets) + 16 * sets * setSlots);
  const header = new Int32Array(memory, 0, headerWords);
  const secret = random.bytes(8);
  header[0] = secret.readInt32LE(0);
  header[1] = secret.readInt32LE(4);
  header[2] = sets;
  return memory;
}

/**
 * The generic cell rate algorithm (as `RateLimiter`) for several threads: what they let through together is what one would. A table of fixed size
 * holds for each key, found by 64 bits of a keyed hash, the time at which its next event would be on schedule. A key has eight places;
 * where all are taken, one whose time has passed goes, for it says nothing, or else the one whose time is nearest.
 *
 * In two steps, for a request that several limits are about: `waitMs` asks each and takes nothing, `take` then takes from all. Between the two
 * another thread may have taken the last one: at most one more for each other thread, and it is owed: the next ones wait the longer.
 */
export class SharedRateLimiter {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #offsetMs: number;
  readonly #hash: KeyedHash;
  readonly #setMask: number;
  /** Of each set: 1 while a thread is in it. */
  readonly #locks: Int32Array;
  /** Low and high word of each slot's key. */
  readonly #keys: Int32Array;
  /** Theoretical arrival of each slot's next event; 0 where there never was a key. */
  readonly #arrivals: Float64Array;

  constructor({ memory, clock, offsetMs = 0 }: SharedRateLimiterOptions) {
    const [key0 = 0, key1 = 0, sets = 0] = new Int32Array(memory, 0, headerWords);
    this.#clock = clock;
    this.#offsetMs = offsetMs;
    this.#hash = new KeyedHash(key0, key1);
    this.#setMask = sets - 1;
    const keysAt = 4 * (headerWords + sets);
    this.#locks = new Int32Array(memory, 4 * headerWords, sets);
    this.#keys = new Int32Array(memory, keysAt, 2 * sets * setSlots);
    this.#arrivals = new Float64Array(memory, keysAt + 8 * sets * setSlots, sets * setSlots);
  }

  /** `perSecond` may be a fraction; `burst` is how many may come at once after a pause, 1 at least. `name` tells limits apart. */
  limit(name: string, { perSecond, burst }: { readonly perSecond: number; readonly burst: number }): SharedLimit {
    const intervalMs = 1000 / perSecond;
    this.#hash.hash(name);
    const { low, high } = this.#hash;
    return Object.freeze({ intervalMs, toleranceMs: (burst - 1) * intervalMs, salt0: low, salt1: high });
  }

  /** 0 when an event of `key` is within the limit, otherwise how many milliseconds to wait. Takes nothing. */
  waitMs(limit: SharedLimit, key: string): number {
    const set = this.#setOf(limit, key);
    this.#enter(set);
    const slot = this.#find(set);
    const arrival = slot < 0 ? 0 : this.#arrivals[slot]!;
    Atomics.store(this.#locks, set, 0);
    return Math.max(arrival - limit.toleranceMs - this.#now(), 0);
  }

  /** Counts one event of `key`, whether or not it is within the limit. */
  take(limit: SharedLimit, key: string): void {
    const now = this.#now();
    const set = this.#setOf(limit, key);
    const { low, high } = this.#hash;
    this.#enter(set);
    let slot = this.#find(set);
    if (slot < 0) {
      slot = this.#oldest(set);
      this.#keys[2 * slot] = low;
      this.#keys[2 * slot + 1] = high;
      this.#arrivals[slot] = now + limit.intervalMs;
    } else this.#arrivals[slot] = Math.max(this.#arrivals[slot]!, now) + limit.intervalMs;
    Atomics.store(this.#locks, set, 0);
  }

  #now(): number {
    return this.#clock.monotonic() + this.#offsetMs;
  }

  /** The key's hash is in `#hash` from here on. */
  #setOf({ salt0, salt1 }: SharedLimit, key: string): number {
    this.#hash.hash(key, salt0, salt1);
    return this.#hash.low & this.#setMask;
  }

  #find(set: number): number {
    const { low, high } = this.#hash;
    const start = set * setSlots;
    for (let slot = start; slot < start + setSlots; slot++) {
      if (this.#keys[2 * slot] === low && this.#keys[2 * slot + 1] === high) return slot;
    }
    return -1;
  }

  #oldest(set: number): number {
    const start = set * setSlots;
    let oldest = start;
    for (let slot = start + 1; slot < start + setSlots; slot++) {
      if (this.#arrivals[slot]! < this.#arrivals[oldest]!) oldest = slot;
    }
    return oldest;
  }

  /** One thread at a time is in a set. One that was ended in the middle of it holds nobody up for good: what it counted may be lost. */
  #enter(set: number): void {
    for (let pauses = 0; pauses < pausesMax; pauses++) {
      for (let spins = 0; spins < spinsMax; spins++) {
        if (Atomics.compareExchange(this.#locks, set, 0, 1) === 0) return;
      }
      Atomics.wait(this.#locks, set, 1, 1);
    }
  }
}
