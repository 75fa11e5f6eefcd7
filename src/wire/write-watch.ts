import type { Duplex } from 'node:stream';
import type { Clock } from '#runtime/clock.ts';
import { Deadline } from './deadline.ts';

/** Whoever writes to the socket. */
interface Writer {
  /** Bytes handed to the socket since the start. */
  readonly writtenBytes: number;
}

/** Notices that a peer takes none of the bytes that wait for it during a whole period. */
export class WriteWatch {
  readonly #socket: Duplex;
  readonly #writer: Writer;
  readonly #stallMs: number;
  readonly #onStalled: () => void;
  readonly #deadline: Deadline;
  #takenBytes = 0;

  constructor(clock: Clock, socket: Duplex, writer: Writer, stallMs: number, onStalled: () => void) {
    this.#socket = socket;
    this.#writer = writer;
    this.#stallMs = stallMs;
    this.#onStalled = onStalled;
    this.#deadline = new Deadline(clock, () => this.#expired());
  }

  /** After writes: begins to watch when bytes stay in the socket. */
  check(): void {
    if (this.#socket.writableLength > 0 && !this.#deadline.isSet) this.#start();
  }

  dispose(): void {
    this.#deadline.dispose();
  }

  #start(): void {
    this.#takenBytes = this.#taken();
    this.#deadline.set(this.#stallMs);
  }

  #expired(): void {
    if (this.#socket.writableLength === 0) return;
    if (this.#taken() === this.#takenBytes) this.#onStalled();
    else this.#start();
  }

  #taken(): number {
    return this.#writer.writtenBytes - this.#socket.writableLength;
  }
}
