/**
 * Buffers of this thread for frames on their way out. A connection holds one only while it has something to say, so that thousands of idle
 * connections hold none. A write's callback must mean that its bytes were taken: sockets and `StreamTunnel` hold to that.
 */
const frameBufferBytes = 32 * 1024;
const keptMax = 64;
const kept: Buffer[] = [];

export function takeFrameBuffer(): Buffer {
  return kept.pop() ?? Buffer.allocUnsafeSlow(frameBufferBytes);
}

/** Gives a buffer back that nothing points into any more. One that had to grow is left to the collector. */
export function giveFrameBuffer(buffer: Buffer): void {
  if (buffer.length === frameBufferBytes && kept.length < keptMax) kept.push(buffer);
}
