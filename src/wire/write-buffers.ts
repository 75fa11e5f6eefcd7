/**
 * Buffers of this thread for bytes on their way out. A connection holds one only while it has something to say, so that thousands of idle
 * connections hold none. A write's callback must mean that its bytes were taken: sockets and `StreamTunnel` hold to that.
 */
const sizes = [
  { bytes: 4 * 1024, keptMax: 64, kept: [] as Buffer[] },
  { bytes: 32 * 1024, keptMax: 64, kept: [] as Buffer[] },
  // A read, or what is kept of a body, and what stands before it.
  { bytes: 72 * 1024, keptMax: 32, kept: [] as Buffer[] },
  // What makes a writer pause, one more read, and the frames around both.
  { bytes: 160 * 1024, keptMax: 16, kept: [] as Buffer[] },
] as const;

/** At least `bytes` long, with anything in it. */
export function takeWriteBuffer(bytes: number): Buffer {
  for (const size of sizes) if (bytes <= size.bytes) return size.kept.pop() ?? Buffer.allocUnsafeSlow(size.bytes);
  return Buffer.allocUnsafeSlow(bytes);
}

/** Gives a buffer back that nothing points into any more. One of another length is left to the collector. */
export function giveWriteBuffer(buffer: Buffer): void {
  for (const size of sizes) {
    if (buffer.length === size.bytes && size.kept.length < size.keptMax) size.kept.push(buffer);
  }
}
