import type { Duplex } from 'node:stream';
import { afterRead, type PutOff } from '#net/after-read.ts';
import { ByteBuffer } from '../byte-buffer.ts';
import type { Framing } from '../message.ts';
import { giveWriteBuffer } from '../write-buffers.ts';

/**
 * Up to here a piece of a body is joined to the head as text, so that a small message is one string and one write; from the first piece beyond,
 * everything is gathered as bytes.
 */
const joinBytesMax = 4 * 1024;
const heldBytesMax = 16 * 1024;
/** What one buffer takes of a large body. */
const gatheredBytesMax = 72 * 1024;
/** A piece as TLS records bring it: what leaves no room for another one goes out. */
const pieceBytes = 16 * 1024;

/**
 * Writes one message after another on a connection, each with the exact framing that its head states. What one turn of the loop produces leaves in
 * one write: small messages are one packet, and the TLS records of a large one do not come to a system call each.
 */
export class MessageWriter implements PutOff {
  /** Body bytes of the current message that were taken. */
  bodyBytes = 0;
  /** Bytes of all messages that were handed to the socket. */
  writtenBytes = 0;
  readonly #socket: Duplex;
  #held = '';
  /** Where all is gathered since a large piece came. */
  #gathered: ByteBuffer | undefined;
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

  /** A head that no body follows goes out at once: an interim one, or all of a message. */
  writeHead(head: string): void {
    this.#append(head);
    this.flush();
  }

  /** False when the socket wants a pause. The bytes are the caller's again after the call. */
  write(bytes: Buffer): boolean {
    const count = bytes.length;
    if (!this.#isOpen || count === 0 || this.#framing === 'none') return true;
    this.bodyBytes += count;
    const isChunked = this.#framing === 'chunked';
    if (!isChunked) {
      if (count > this.#remaining) throw new TypeError('a body is longer than its Content-Length');
      this.#remaining -= count;
    }
    const before = isChunked ? `${count.toString(16)}\r\n` : '';
    const after = isChunked ? '\r\n' : '';
    if (count <= joinBytesMax && this.#gathered === undefined) {
      this.#hold(before + bytes.toString('latin1') + after);
    } else this.#gather(before, bytes, after);
    return this.#socket.writableLength < this.#socket.writableHighWaterMark;
  }

  /** `trailers`: clean field lines; they need a chunked body and are left out of others. */
  end(trailers: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#framing === 'chunked') this.#append(`0\r\n${trailers}\r\n`);
    else if (this.#remaining !== 0) throw new TypeError('a body is shorter than its Content-Length');
    this.flush();
  }

  /** What was held back goes out now. */
  flush(): void {
    const gathered = this.#gathered;
    if (gathered === undefined) {
      const held = this.#held;
      if (held === '') return;
      this.#held = '';
      this.writtenBytes += held.length;
      this.#socket.write(held, 'latin1');
      return;
    }
    const { bytes, length } = gathered;
    this.#gathered = undefined;
    this.writtenBytes += length;
    this.#socket.write(bytes.subarray(0, length), (error) => {
      if (!error) giveWriteBuffer(bytes);
    });
  }

  /** Only for the queue of reads. */
  readOver(): void {
    if (this.#gathered === undefined) this.turnOver();
    else setImmediate(flushAtTurn, this);
  }

  /** Only for the queue of turns. */
  turnOver(): void {
    this.#isFlushQueued = false;
    if (!this.#socket.destroyed) this.flush();
  }

  #append(text: string): void {
    if (this.#gathered === undefined) this.#held += text;
    else this.#gathered.appendLatin1(text);
  }

  #hold(text: string): void {
    this.#append(text);
    if (this.#held.length > heldBytesMax) this.flush();
    else this.#queue();
  }

  #gather(before: string, bytes: Buffer, after: string): void {
    let gathered = this.#gathered;
    if (gathered === undefined) {
      const expected = this.#held.length + bytes.length;
      gathered = new ByteBuffer(Math.max(expected, Math.min(expected + this.#remaining, gatheredBytesMax)));
      gathered.appendLatin1(this.#held);
      this.#held = '';
      this.#gathered = gathered;
    }
    if (before !== '') gathered.appendLatin1(before);
    gathered.append(bytes);
    if (after !== '') gathered.appendLatin1(after);
    if (gathered.length > gatheredBytesMax - pieceBytes) this.flush();
    else this.#queue();
  }

  #queue(): void {
    if (this.#isFlushQueued) return;
    this.#isFlushQueued = true;
    afterRead(this);
  }
}

function flushAtTurn(writer: MessageWriter): void {
  writer.turnOver();
}
