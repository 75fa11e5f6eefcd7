import type { ClientExchange } from './exchange.ts';

/** What is kept of a body for another attempt. Beyond it there is none. */
const sentBodyBytesMax = 64 * 1024;

/** What was sent of a request's body, to send it once more. */
export class SentBody {
  #pieces: Buffer[] = [];
  #bytes = 0;
  #trailers: string | undefined;
  #isWhole = true;

  /** Nothing of it has been given up. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** `isSent`: it goes out at once as well. What waits for a connection is kept whatever its size: its sender has been asked for silence. */
  add(bytes: Buffer, isSent: boolean): void {
    if (!this.#isWhole) return;
    this.#pieces.push(bytes);
    this.#bytes += bytes.length;
    if (isSent) this.#giveUpIfLarge();
  }

  end(trailers: string): void {
    this.#trailers = trailers;
  }

  /** @returns whether `exchange` has room for more */
  sendTo(exchange: ClientExchange): boolean {
    let hasRoom = true;
    for (const piece of this.#pieces) hasRoom = exchange.write(piece);
    if (this.#trailers !== undefined) exchange.end(this.#trailers);
    this.#giveUpIfLarge();
    return hasRoom;
  }

  /** There will be no other attempt. */
  giveUp(): void {
    this.#isWhole = false;
    this.#pieces = [];
  }

  #giveUpIfLarge(): void {
    if (this.#bytes > sentBodyBytesMax) this.giveUp();
  }
}
