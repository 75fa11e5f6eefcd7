import type { OnReadOpts, Socket } from 'node:net';
import { Duplex, duplexPair } from 'node:stream';
import { withSharedReads } from '#net/shared-reads.ts';

/**
 * Two ends of a connection in memory. The second reads as dialed sockets do: its reader is lent the bytes, whose memory holds something else as soon
 * as the call is over.
 */
export function lendingPair(): [plain: Duplex, lending: Duplex] {
  const [plain, inner] = duplexPair();
  return [plain, withSharedReads((onread) => new LendingDuplex(inner, onread) as unknown as Socket)];
}

class LendingDuplex extends Duplex {
  readonly #inner: Duplex;

  constructor(inner: Duplex, { buffer, callback }: OnReadOpts) {
    super({ allowHalfOpen: true });
    this.#inner = inner;
    const memory = buffer as Buffer;
    inner.on('data', (bytes: Buffer) => {
      for (let at = 0; at < bytes.length; at += memory.length) {
        const count = bytes.copy(memory, 0, at);
        if (!callback(count, memory)) inner.pause();
        memory.fill(0x23, 0, count);
      }
    });
    inner.on('end', () => this.push(null));
    inner.on('error', (error) => this.destroy(error));
    inner.on('close', () => this.destroy());
    inner.pause();
  }

  override _read(): void {
    this.#inner.resume();
  }

  /** Sockets stop at once; a stream would go on until its own queue is full. */
  override pause(): this {
    this.#inner.pause();
    return super.pause();
  }

  override resume(): this {
    super.resume();
    this.#inner.resume();
    return this;
  }

  override _write(bytes: Buffer, _: BufferEncoding, done: () => void): void {
    // A kernel has a copy when it says that it has taken the bytes.
    if (this.#inner.write(Buffer.from(bytes))) done();
    else this.#inner.once('drain', done);
  }

  override _final(done: () => void): void {
    this.#inner.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#inner.destroy();
    done(error);
  }
}
