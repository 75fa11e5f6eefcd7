import type { Duplex } from 'node:stream';
import type { Framing } from '../message.ts';

/**
 * Up to here a piece of a body is copied behind the head, so that a small message is one string and one write; beyond, its
 * bytes are written where they lie, gathered with what was held.
 */
const joinBytesMax = 4 * 1024;
const heldBytesMax = 16 * 1024;

/**
 * Writes one message after another on a connection, each with the exact framing that its head states. Heads and small pieces
 * are held until the end of the current turn: small messages are one write and one packet.
 */
export class MessageWriter {
  /** Body bytes of the current message that were taken. */
  bodyBytes = 0;
  /** Bytes of all messages that were handed to the socket. */
  writtenBytes = 0;
  readonly #socket: Duplex;
  #held = '';
  #framing: Framing = 'none';
  #remaining = 0;
  #isOpen = false;
  #isFlushQueued = false;

  constructor(socket: Duplex) {
    this.#socket = socket;
  }

  /** A message was begun and not ended. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** `none` for a message whose body is left out, whatever its head says. */
  begin(head: string, framing: Framing, contentLength: number): void {
    this.#framing = framing;
    this.#remaining = framing === 'length' ? contentLength : 0;
    this.bodyBytes = 0;
    this.#isOpen = true;
    this.#hold(head);
  }

  /** An interim head goes out at once. */
  writeInterim(head: string): void {
    this.#held += head;
    this.flush();
  }

  /** False when the socket wants a pause. */
  write(bytes: Buffer): boolean {
    const count = bytes.length;
    if (!this.#isOpen || count === 0 || this.#framing === 'none') return true;
    this.bodyBytes += count;
    if (this.#framing === 'chunked') this.#held += `${count.toString(16)}\r\n`;
    else if (count > this.#remaining) throw new TypeError('a body is longer than its Content-Length');
    else this.#remaining -= count;
    const after = this.#framing === 'chunked' ? '\r\n' : '';
    if (count <= joinBytesMax) this.#hold(bytes.toString('latin1') + after);
    else {
      this.#gather(bytes);
      if (after !== '') this.#hold(after);
    }
    return !this.#socket.writableNeedDrain;
  }

  /** `trailers`: clean field lines; they need a chunked body and are left out of others. */
  end(trailers: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#framing === 'chunked') this.#held += `0\r\n${trailers}\r\n`;
    else if (this.#remaining !== 0) throw new TypeError('a body is shorter than its Content-Length');
    this.flush();
  }

  /** What was held back goes out now. */
  flush(): void {
    if (this.#held === '') return;
    const held = this.#held;
    this.#held = '';
    this.writtenBytes += held.length;
    this.#socket.write(held, 'latin1');
  }

  /** Only for `flushQueued`, at the end of the turn. */
  flushQueued(): void {
    this.#isFlushQueued = false;
    if (!this.#socket.destroyed) this.flush();
  }

  #hold(text: string): void {
    this.#held += text;
    if (this.#held.length > heldBytesMax) this.flush();
    else if (!this.#isFlushQueued) {
      this.#isFlushQueued = true;
      process.nextTick(flushQueued, this);
    }
  }

  #gather(bytes: Buffer): void {
    this.writtenBytes += bytes.length;
    if (this.#held === '') {
      this.#socket.write(bytes);
      return;
    }
    this.#socket.cork();
    this.flush();
    this.#socket.write(bytes);
    this.#socket.uncork();
  }
}

function flushQueued(writer: MessageWriter): void {
  writer.flushQueued();
}
