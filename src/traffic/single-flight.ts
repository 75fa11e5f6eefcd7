import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';

/**
 * One look-up at a time for a key, whoever asks. The flight belongs to nobody who waits: a waiter that gives up ends nothing for the
 * others (IDENTITY Q14: coalescing must not couple failures), and the flight has a deadline of its own.
 */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Promise<T>>();
  readonly #clock: Clock;
  readonly #deadlineMs: number;

  constructor(clock: Clock, deadlineMs = 2_000) {
    this.#clock = clock;
    this.#deadlineMs = deadlineMs;
  }

  get size(): number {
    return this.#flights.size;
  }

  /** @throws what `look` throws; CellmeshError `look_up_timeout` when it takes too long */
  run(key: string, look: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const flight = this.#flights.get(key) ?? this.#start(key, look);
    return flight;
  }

  #start(key: string, look: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const abort = new AbortController();
    const flight = new Promise<T>((resolve, reject) => {
      const timer = this.#clock.schedule(this.#deadlineMs, () => {
        const error = new CellmeshError('look_up_timeout', `no answer within ${this.#deadlineMs} ms`, {
          retryable: true,
        });
        abort.abort(error);
        reject(error);
      });
      look(abort.signal)
        .then(resolve, reject)
        .finally(() => timer.cancel());
    }).finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return flight;
  }
}
