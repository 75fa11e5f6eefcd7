import { parentPort, workerData } from 'node:worker_threads';
import { monotonicOffsetMs, systemClock } from '#runtime/clock.ts';
import { SharedRateLimiter } from '#traffic/shared-rate-limiter.ts';

/** One of several threads that share a rate limiter: asks for the same key as often as it can, and says how often it was let through. */
const { memory, start, threads, rate, forMs } = workerData as {
  readonly memory: SharedArrayBuffer;
  /** How many are here: they begin together. */
  readonly start: SharedArrayBuffer;
  readonly threads: number;
  readonly rate: { readonly perSecond: number; readonly burst: number };
  readonly forMs: number;
};
const offsetMs = monotonicOffsetMs();
const limiter = new SharedRateLimiter({ memory, clock: systemClock, offsetMs });
const limit = limiter.limit('shared', rate);
const here = new Int32Array(start);
Atomics.add(here, 0, 1);
Atomics.notify(here, 0);
for (let count = Atomics.load(here, 0); count < threads; count = Atomics.load(here, 0)) Atomics.wait(here, 0, count);

const fromMs = systemClock.monotonic();
let admitted = 0;
while (systemClock.monotonic() - fromMs < forMs) {
  if (limiter.waitMs(limit, 'key') > 0) continue;
  limiter.take(limit, 'key');
  admitted++;
}
parentPort!.postMessage({ admitted, fromMs: fromMs + offsetMs, toMs: systemClock.monotonic() + offsetMs });
