/**
 * Time as an argument. Everything that schedules or compares times takes a `Clock`, so that a test can move twelve hours
 * in a millisecond; only this file touches the process's own clock.
 */
export interface Clock {
  /** Wall-clock time in milliseconds since the epoch. */
  now(): number;
  /** Milliseconds that never run backwards, from an arbitrary start: for durations. */
  monotonic(): number;
  /** Runs `task` once after `delayMs`. The timer never keeps the process alive. */
  schedule(delayMs: number, task: () => void): Scheduled;
}

export interface Scheduled {
  cancel(): void;
}

/** setTimeout fires at once for longer delays (they overflow 32 bits), so longer ones are clamped. */
const delayMsMax = 0x7fffffff;

/** Of the thread: the global itself is a getter, asked for each time. */
const threadTime = performance;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => threadTime.now(),
  schedule(delayMs, task) {
    const timer = setTimeout(task, Math.min(Math.max(0, delayMs), delayMsMax));
    timer.unref();
    return {
      cancel() {
        // Node keeps a list for each duration, and takes an empty one away only after a timer that is not unref'ed (lib/internal/timers.js):
        // those of certificates, no two alike, would stay for half a day after their connections.
        timer.ref();
        clearTimeout(timer);
      },
    };
  },
};

/** For a command that waits and does nothing else meanwhile: its timers keep the process alive. */
export const foregroundClock: Clock = {
  ...systemClock,
  schedule(delayMs, task) {
    const timer = setTimeout(task, Math.min(Math.max(0, delayMs), delayMsMax));
    return { cancel: () => clearTimeout(timer) };
  },
};

/** A signal, until it is disposed. */
interface Deadline extends Disposable {
  readonly signal: AbortSignal;
}

/**
 * Aborts after `delayMs`, with the reason as its error. Keeps the process alive: a command may wait for nothing but timers that do not, and would end
 * without its answer.
 */
export function deadline(delayMs: number, reason: Error): Deadline {
  const abort = new AbortController();
  const { cancel } = foregroundClock.schedule(delayMs, () => abort.abort(reason));
  return { signal: abort.signal, [Symbol.dispose]: cancel };
}

/** What `systemClock.monotonic()` of this thread lacks to a time that all threads of the process have in common. Asked once a thread. */
export function monotonicOffsetMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6 - performance.now();
}

/** Resolves after `delayMs` of `clock`; rejects with the signal's reason when it is aborted first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      scheduled.cancel();
      reject(signal?.reason);
    };
    const scheduled = clock.schedule(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
