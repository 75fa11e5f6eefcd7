import { isMainThread, parentPort, Worker } from 'node:worker_threads';

/** Arrivals at random (Poisson) at a rate, for so long. */
export interface ArrivalsOrder {
  readonly perSecond: number;
  readonly durationMs: number;
}

/**
 * The clock of an open loop, a thread of its own: timers of Node's have milliseconds, and a loop that never sleeps keeps from the processor whom it
 * waits for. This one sleeps until the next request is due. Tells when each was due, by `performance.now()` of its user, and at last nothing.
 */
export class Arrivals {
  readonly #thread = new Worker(import.meta.filename);
  #onDue: (dueAt: number | undefined) => void = () => {};

  constructor() {
    this.#thread.unref();
    this.#thread.on('message', (due: number | undefined) =>
      this.#onDue(due === undefined ? undefined : due - performance.timeOrigin),
    );
  }

  begin(order: ArrivalsOrder, onDue: (dueAt: number | undefined) => void): void {
    this.#onDue = onDue;
    this.#thread.postMessage(order);
  }
}

function tell({ perSecond, durationMs }: ArrivalsOrder): void {
  const random = mulberry32(perSecond);
  const nobody = new Int32Array(new SharedArrayBuffer(4));
  const end = now() + durationMs;
  for (let due = now(); due < end; due += (-Math.log(1 - random()) / perSecond) * 1000) {
    const early = due - now();
    if (early > 0) Atomics.wait(nobody, 0, 0, early);
    parentPort!.postMessage(due);
  }
  parentPort!.postMessage(undefined);
}

/** The same for all threads. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

/** The same arrivals for every candidate of a run. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296;
  };
}

if (!isMainThread) parentPort!.on('message', tell);
