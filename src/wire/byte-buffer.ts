import { giveWriteBuffer, takeWriteBuffer } from './write-buffers.ts';

/** Bytes being gathered in a buffer of the thread's: whoever writes calls `ensure` first and moves `length` on. */
export class ByteBuffer {
  bytes: Buffer;
  length = 0;

  /** With room for `count` bytes at first. */
  constructor(count: number) {
    this.bytes = takeWriteBuffer(count);
  }

  /** Makes room for `count` more bytes. Views of `bytes` that were taken before are stale after it. */
  ensure(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    const smaller = this.bytes;
    this.bytes = takeWriteBuffer(Math.max(needed, smaller.length * 2));
    smaller.copy(this.bytes, 0, 0, this.length);
    giveWriteBuffer(smaller);
  }

  append(bytes: Buffer): void {
    this.ensure(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Text of one byte a character. */
  appendLatin1(text: string): void {
    this.ensure(text.length);
    this.length += this.bytes.write(text, this.length, 'latin1');
  }
}
