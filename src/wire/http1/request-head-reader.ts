import type { HttpLimits } from '../limits.ts';
import { ruleBroken } from '../wire-error.ts';
import { type HeldBytes, readHeadOf } from './held-bytes.ts';
import { type Http1RequestHead, readRequestHead } from './request-head.ts';

const cr = 13;
const lf = 10;

/** Takes request heads off the bytes of a connection. */
export class RequestHeadReader {
  readonly #held: HeldBytes;
  readonly #limits: HttpLimits;
  readonly #read: (length: number) => Http1RequestHead | undefined;
  #hasSkippedLine = false;

  constructor(held: HeldBytes, limits: HttpLimits) {
    this.#held = held;
    this.#limits = limits;
    this.#read = (length) => readRequestHead(length, limits);
  }

  mayComplete(chunk: Buffer): boolean {
    return this.#held.mayCompleteHead(chunk, this.#limits.lineBytesMax);
  }

  /**
   * @returns undefined when the head is not complete
   * @throws WireError when it breaks a rule
   */
  next(): Http1RequestHead | undefined {
    if (!this.#skipEmptyLine() || this.#held.length === 0) return undefined;
    const head = readHeadOf(this.#held, this.#limits.headBytesMax, this.#read);
    if (head === undefined) return undefined;
    this.#held.consume(head.byteLength);
    this.#hasSkippedLine = false;
    return head;
  }

  /** One empty line before a request is forgiven (RFC 9112 2.2): old clients send it after a body. False: it is not complete. */
  #skipEmptyLine(): boolean {
    const { bytes, start, length } = this.#held;
    if (this.#hasSkippedLine || length === 0 || bytes[start] !== cr) return true;
    if (length < 2) return false;
    if (bytes[start + 1] !== lf) throw ruleBroken('bare_cr', 'a CR stands without LF');
    this.#hasSkippedLine = true;
    this.#held.consume(2);
    return true;
  }
}
