import type { Clock } from '#runtime/clock.ts';
import { Deadline } from './deadline.ts';
import { WireError } from './wire-error.ts';

/** A request that waits for its turn. */
interface Waiting {
  fail(error: WireError): void;
}

/** Requests that wait for one upstream, in order; each for a bounded time. */
export class WaitingQueue<T extends Waiting> {
  readonly #clock: Clock;
  readonly #queueMs: number;
  readonly #deadline: Deadline;
  readonly #entries: { readonly waiting: T; readonly since: number }[] = [];

  constructor(clock: Clock, queueMs: number) {
    this.#clock = clock;
    this.#queueMs = queueMs;
    this.#deadline = new Deadline(clock, () => this.#failExpired());
  }

  get length(): number {
    return this.#entries.length;
  }

  push(waiting: T): void {
    this.#entries.push({ waiting, since: this.#clock.monotonic() });
    if (!this.#deadline.isSet) this.#deadline.set(this.#queueMs);
  }

  /** For one that had its turn already and must have it again; its time begins anew. */
  unshift(waiting: T): void {
    this.#entries.unshift({ waiting, since: this.#clock.monotonic() });
    if (!this.#deadline.isSet) this.#deadline.set(this.#queueMs);
  }

  shift(): T | undefined {
    return this.#entries.shift()?.waiting;
  }

  delete(waiting: T): void {
    const at = this.#entries.findIndex((entry) => entry.waiting === waiting);
    if (at >= 0) this.#entries.splice(at, 1);
  }

  failAll(error: WireError): void {
    for (const { waiting } of this.#entries.splice(0)) waiting.fail(error);
  }

  dispose(): void {
    this.#deadline.dispose();
  }

  #failExpired(): void {
    const now = this.#clock.monotonic();
    const expired = this.#entries.filter(({ since }) => since + this.#queueMs <= now);
    const error = new WireError('upstream_overloaded', 'the request waited too long for the upstream', {
      retryable: true,
    });
    for (const { waiting } of expired) this.delete(waiting);
    if (this.#entries.length > 0) {
      const oldest = Math.min(...this.#entries.map(({ since }) => since));
      this.#deadline.set(oldest + this.#queueMs - now);
    }
    for (const { waiting } of expired) waiting.fail(error);
  }
}

export function overloaded(): WireError {
  return new WireError('upstream_overloaded', 'too many requests wait for the upstream', { retryable: true });
}
