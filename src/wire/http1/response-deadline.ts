import { Deadline } from '../deadline.ts';
import type { OutgoingRequest } from '../message.ts';
import type { ClientOptions } from '../upstream-group.ts';

/** How long a response may take, on one connection. The clock is asked once for all that a read brings. */
export class ResponseDeadline {
  readonly #options: ClientOptions;
  readonly #deadline: Deadline;
  /** Clock.monotonic() at the event that is being dealt with. */
  now = 0;

  constructor(options: ClientOptions, onExpired: () => void) {
    this.#options = options;
    this.#deadline = new Deadline(options.clock, onExpired);
  }

  /** Something happens now. */
  tick(): void {
    this.now = this.#options.clock.monotonic();
  }

  /** The request is out. */
  awaitHead(request: OutgoingRequest | undefined): void {
    this.#deadline.set(request?.responseHeadMs ?? this.#options.pool.responseHeadMs, this.now);
  }

  /** A part of the response has come, and it is not the last. */
  awaitMore(request: OutgoingRequest | undefined): void {
    this.#deadline.set(request?.responseIdleMs ?? this.#options.pool.responseIdleMs, this.now);
  }

  clear(): void {
    this.#deadline.clear();
  }

  dispose(): void {
    this.#deadline.dispose();
  }
}
