import { ByteBuffer } from './byte-buffer.ts';
import type { ClientExchange } from './exchange.ts';
import { giveWriteBuffer } from './write-buffers.ts';

/** What is kept of a body for another attempt. Beyond it there is none. */
const sentBodyBytesMax = 64 * 1024;

/** What was sent of a request's body, to send it once more. Its owner must end it by `giveUp`. */
export class SentBody {
  #kept: ByteBuffer | undefined;
  #trailers: string | undefined;
  #isWhole = true;

  /** Nothing of it has been given up. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** `isSent`: it goes out at once as well. What waits for a connection is kept whatever its size: its sender has been asked for silence. */
  add(bytes: Buffer, isSent: boolean): void {
    if (!this.#isWhole) return;
    if (isSent && (this.#kept?.length ?? 0) + bytes.length > sentBodyBytesMax) {
      this.giveUp();
      return;
    }
    this.#kept ??= new ByteBuffer(bytes.length);
    this.#kept.append(bytes);
  }

  end(trailers: string): void {
    this.#trailers = trailers;
  }

  /** @returns whether `exchange` has room for more */
  sendTo(exchange: ClientExchange): boolean {
    const kept = this.#kept;
    const hasRoom = kept === undefined || exchange.write(kept.bytes.subarray(0, kept.length));
    if (this.#trailers !== undefined) exchange.end(this.#trailers);
    if (kept !== undefined && kept.length > sentBodyBytesMax) this.giveUp();
    return hasRoom;
  }

  /** There will be no other attempt. */
  giveUp(): void {
    const kept = this.#kept;
    this.#isWhole = false;
    this.#kept = undefined;
    if (kept !== undefined) giveWriteBuffer(kept.bytes);
  }
}
