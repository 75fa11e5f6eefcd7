import type { Duplex } from 'node:stream';
import { scanBytes } from './scan-head.ts';

const lf = 10;
const growthBytesMin = 4 * 1024;
/** Most heads are shorter: only when this much holds no whole head is the rest copied for the scan too. */
const firstLoadBytes = 2 * 1024;

/**
 * Bytes that were read and not yet consumed. A chunk that is consumed at once is never copied; of one that is not, `keep` copies the rest before
 * its memory is read into again.
 */
export class HeldBytes {
  bytes: Buffer = empty;
  start = 0;
  end = 0;
  /** This object allocated `bytes`, so there may be room behind `end`. */
  #isOwn = false;

  get length(): number {
    return this.end - this.start;
  }

  /** A head is scanned from its start again only when a line ended, or a limit is near: slow senders cost no more than others. */
  mayCompleteHead(chunk: Buffer, lineBytesMax: number): boolean {
    return this.length === 0 || this.length + chunk.length > lineBytesMax || chunk.includes(lf);
  }

  append(chunk: Buffer): void {
    if (this.start === this.end) {
      this.bytes = chunk;
      this.start = 0;
      this.end = chunk.length;
      this.#isOwn = false;
      return;
    }
    const end = this.end + chunk.length;
    if (!this.#isOwn || end > this.bytes.length) this.#grow(this.length + chunk.length);
    this.bytes.set(chunk, this.end);
    this.end += chunk.length;
  }

  consume(count: number): void {
    this.start += count;
    if (this.start === this.end) this.clear();
  }

  /** The chunk appended last is valid no longer. */
  keep(): void {
    if (this.length > 0 && !this.#isOwn) this.#grow(this.length);
  }

  clear(): void {
    this.bytes = empty;
    this.start = 0;
    this.end = 0;
    this.#isOwn = false;
  }

  /** For a connection that is given up: its next reader begins with what is held. */
  giveBackTo(socket: Duplex): void {
    socket.pause();
    if (this.length > 0) socket.unshift(Buffer.from(this.bytes.subarray(this.start, this.end)));
    this.clear();
  }

  /** Copies the first bytes, at most `max`, to the scan buffer. Returns how many. */
  loadForScan(max: number): number {
    const count = Math.min(this.length, max);
    this.bytes.copy(scanBytes, 0, this.start, this.start + count);
    return count;
  }

  #grow(needed: number): void {
    const bytes = Buffer.allocUnsafeSlow(Math.max(growthBytesMin, needed * 2));
    this.bytes.copy(bytes, 0, this.start, this.end);
    this.end -= this.start;
    this.start = 0;
    this.bytes = bytes;
    this.#isOwn = true;
  }
}

const empty = Buffer.alloc(0);

/**
 * Reads a head with `read`, which scans what is loaded: first a small part, then all up to the limit.
 * @returns undefined when it is not complete
 */
export function readHeadOf<Head>(
  held: HeldBytes,
  headBytesMax: number,
  read: (length: number) => Head | undefined,
): Head | undefined {
  const small = Math.min(firstLoadBytes, headBytesMax);
  const head = read(held.loadForScan(small));
  if (head !== undefined || held.length <= small) return head;
  return read(held.loadForScan(headBytesMax));
}
