import type { Clock } from '#runtime/clock.ts';
import { Deadline } from '../deadline.ts';
import type { Http2Stream } from './stream.ts';
import type { StreamTable } from './stream-table.ts';

interface DeadlineOwner {
  expired(stream: Http2Stream): void;
  /** The peer gave no window for too long. */
  stalled(stream: Http2Stream): void;
}

/** The times of all streams of a connection by one timer: setting one costs a comparison, and hardly any of them ever comes. */
export class StreamDeadlines {
  readonly #clock: Clock;
  readonly #stallMs: number;
  readonly #streams: StreamTable;
  readonly #owner: DeadlineOwner;
  readonly #timer: Deadline;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, stallMs: number, streams: StreamTable, owner: DeadlineOwner) {
    this.#clock = clock;
    this.#stallMs = stallMs;
    this.#streams = streams;
    this.#owner = owner;
    this.#timer = new Deadline(clock, () => this.#look());
  }

  /** `now`: of the clock. */
  set(stream: Http2Stream, delayMs: number, now: number): void {
    stream.deadlineAt = now + delayMs;
    this.#arm(stream.deadlineAt, now);
  }

  noteStall(stream: Http2Stream): void {
    if (stream.stalledSince !== undefined) this.#arm(stream.stalledSince + this.#stallMs, this.#clock.monotonic());
  }

  dispose(): void {
    this.#timer.dispose();
  }

  #arm(at: number, now: number): void {
    if (at >= this.#timerAt) return;
    this.#timerAt = at;
    this.#timer.set(at - now);
  }

  #look(): void {
    const now = this.#clock.monotonic();
    this.#timerAt = Number.POSITIVE_INFINITY;
    for (const stream of this.#streams.all()) {
      if (stream.isClosed) continue;
      const stallsAt = (stream.stalledSince ?? Number.POSITIVE_INFINITY) + this.#stallMs;
      if (stallsAt <= now) this.#owner.stalled(stream);
      else if (stream.deadlineAt <= now) {
        stream.deadlineAt = Number.POSITIVE_INFINITY;
        this.#owner.expired(stream);
      }
      if (!stream.isClosed) this.#arm(Math.min(stallsAt, stream.deadlineAt), now);
    }
  }
}
