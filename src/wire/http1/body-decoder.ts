import type { HttpLimits } from '../limits.ts';
import type { Framing } from '../message.ts';
import { ruleBroken } from '../wire-error.ts';
import { readTrailers } from './trailers.ts';

type State = 'data' | 'size' | 'extension' | 'size-lf' | 'data-cr' | 'data-lf' | 'trailers' | 'done';

/** 13 hexadecimal digits stay below 2^53. */
const sizeDigitsMax = 13;
const cr = 13;
const lf = 10;
const semicolon = 59;

/**
 * Finds the runs of body bytes in what is read, by the framing of one message (RFC 9112 6 and 7). Reused for the next
 * message by `start`.
 */
export class BodyDecoder {
  /** After `next`: this many bytes before the returned index are body. */
  run = 0;
  /** Body bytes so far. */
  total = 0;
  /** Clean trailer lines, once done. */
  trailers = '';
  #framing: Framing = 'none';
  #state: State = 'done';
  #remaining = 0;
  #digits = 0;
  #lineExtensionBytes = 0;
  #bodyExtensionBytes = 0;
  #trailerBytes: number[] | undefined;
  readonly #limits: HttpLimits;

  constructor(limits: HttpLimits) {
    this.#limits = limits;
  }

  get isDone(): boolean {
    return this.#state === 'done';
  }

  start(framing: Framing, contentLength: number): void {
    this.#framing = framing;
    this.total = 0;
    this.trailers = '';
    this.#bodyExtensionBytes = 0;
    this.#trailerBytes = undefined;
    if (framing === 'chunked') this.#startSize();
    else {
      this.#remaining = framing === 'length' ? contentLength : Number.POSITIVE_INFINITY;
      this.#state = framing === 'none' || this.#remaining === 0 ? 'done' : 'data';
    }
    if (framing === 'length' && contentLength > this.#limits.bodyBytesMax) throw this.#tooLarge();
  }

  /** The sender closed its side. True when that is the end of the body, and not in its midst. */
  endOfInput(): boolean {
    if (this.#framing === 'until-close' && this.#state === 'data') this.#state = 'done';
    return this.#state === 'done';
  }

  /**
   * Reads on from `start`, at most to the end of one run of body bytes.
   * @returns the index after what was consumed
   * @throws WireError
   */
  next(bytes: Buffer, start: number, end: number): number {
    this.run = 0;
    let i = start;
    while (i < end && this.#state !== 'done') {
      if (this.#state === 'data') return this.#data(i, end);
      this.#byte(bytes[i]!);
      i++;
    }
    return i;
  }

  #data(start: number, end: number): number {
    const run = Math.min(this.#remaining, end - start);
    this.run = run;
    this.#remaining -= run;
    this.total += run;
    if (this.total > this.#limits.bodyBytesMax) throw this.#tooLarge();
    if (this.#remaining === 0) this.#state = this.#framing === 'chunked' ? 'data-cr' : 'done';
    return start + run;
  }

  #byte(byte: number): void {
    switch (this.#state) {
      case 'size':
        this.#sizeByte(byte);
        break;
      case 'extension':
        this.#extensionByte(byte);
        break;
      case 'size-lf':
        if (byte !== lf) throw ruleBroken('chunk_size', 'a chunk size line does not end with CRLF');
        this.#state = this.#remaining === 0 ? 'trailers' : 'data';
        break;
      case 'data-cr':
        if (byte !== cr) throw ruleBroken('chunk_end', 'a chunk is longer than its size');
        this.#state = 'data-lf';
        break;
      case 'data-lf':
        if (byte !== lf) throw ruleBroken('chunk_end', 'a chunk does not end with CRLF');
        this.#startSize();
        break;
      case 'trailers':
        this.#trailerByte(byte);
        break;
    }
  }

  #startSize(): void {
    this.#state = 'size';
    this.#remaining = 0;
    this.#digits = 0;
    this.#lineExtensionBytes = 0;
  }

  #sizeByte(byte: number): void {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      if (++this.#digits > sizeDigitsMax) throw ruleBroken('chunk_size', 'a chunk size has too many digits');
      this.#remaining = this.#remaining * 16 + digit;
      return;
    }
    if (this.#digits === 0 || (byte !== cr && byte !== semicolon)) {
      throw ruleBroken('chunk_size', 'a chunk size is not a plain hexadecimal number');
    }
    this.#state = byte === cr ? 'size-lf' : 'extension';
  }

  #extensionByte(byte: number): void {
    if (byte === cr) {
      this.#state = 'size-lf';
      return;
    }
    if ((byte < 32 && byte !== 9) || byte > 126)
      throw ruleBroken('chunk_extension', 'a chunk extension has a control byte');
    const { chunkExtensionBytesMax, bodyExtensionBytesMax } = this.#limits;
    if (++this.#lineExtensionBytes > chunkExtensionBytesMax || ++this.#bodyExtensionBytes > bodyExtensionBytesMax) {
      throw ruleBroken('chunk_extension', 'chunk extensions are too long');
    }
  }

  /** Trailers are rare: collected byte by byte up to the blank line, then read like a head. */
  #trailerByte(byte: number): void {
    this.#trailerBytes ??= [];
    const bytes = this.#trailerBytes;
    bytes.push(byte);
    const length = bytes.length;
    if (length > this.#limits.trailerBytesMax) {
      throw ruleBroken('trailer_size', `the trailers are longer than ${this.#limits.trailerBytesMax} bytes`);
    }
    if (byte !== lf) return;
    if (bytes[length - 2] !== cr) throw ruleBroken('trailer', 'a trailer line ends without CR');
    if (length > 2 && (bytes[length - 3] !== lf || bytes[length - 4] !== cr)) return;
    this.trailers = length === 2 ? '' : readTrailers(bytes, this.#limits);
    this.#trailerBytes = undefined;
    this.#state = 'done';
  }

  #tooLarge(): Error {
    return ruleBroken('body_size', `the body is longer than ${this.#limits.bodyBytesMax} bytes`);
  }
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const lower = byte | 0x20;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}
