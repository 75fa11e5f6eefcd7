import type { Duplex } from 'node:stream';
import type { Clock } from '#runtime/clock.ts';
import { Deadline } from '../deadline.ts';

/**
 * Ends our side of a connection and reads on until the peer ends its own, within bounds. Closing at once while bytes of the peer
 * are unread resets the connection, which can take the last response away from it (RFC 9112 9.6).
 */
export class LingeringClose {
  readonly #socket: Duplex;
  readonly #lingerMs: number;
  readonly #bytesMax: number;
  readonly #deadline: Deadline;
  #bytes = 0;

  constructor(clock: Clock, socket: Duplex, lingerMs: number, bytesMax: number) {
    this.#socket = socket;
    this.#lingerMs = lingerMs;
    this.#bytesMax = bytesMax;
    this.#deadline = new Deadline(clock, () => this.#expired());
  }

  begin(): void {
    this.#deadline.set(this.#lingerMs);
    this.#socket.end();
    this.#socket.resume();
  }

  /** The peer sent what nobody reads any more. */
  readOver(count: number): void {
    this.#bytes += count;
    if (this.#bytes > this.#bytesMax) this.#socket.destroy();
  }

  dispose(): void {
    this.#deadline.dispose();
  }

  /** A slow reader of the last response is not hurried: whether it takes anything at all is watched elsewhere. */
  #expired(): void {
    if (this.#socket.writableLength > 0) this.#deadline.set(this.#lingerMs);
    else this.#socket.destroy();
  }
}
