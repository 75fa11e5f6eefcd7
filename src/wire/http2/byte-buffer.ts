/** Bytes being written: whoever writes calls `ensure` first and moves `length` on. */
export class ByteBuffer {
  bytes: Buffer;
  length = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Makes room for `count` more bytes. Views of `bytes` that were taken before are stale after it. */
  ensure(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }
}
