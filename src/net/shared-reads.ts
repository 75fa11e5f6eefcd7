import type { OnReadOpts, Socket } from 'node:net';

/** As much as one read of the kernel brings at most; libuv asks for no more. */
const buffer = Buffer.allocUnsafeSlow(64 * 1024);

/**
 * Opens a socket that reads into a buffer which all sockets of the thread share, and keeps a copy of exactly what came. Node's default is a
 * buffer of 64 KiB for each read, given back in part: memory outside the heap that makes the collector run far too often.
 */
export function withSharedReads<S extends Socket>(connect: (onread: OnReadOpts) => S): S {
  const socket: S = connect({
    buffer,
    // The stream's own queue and back-pressure: a full one stops the reads until its reader asks again.
    callback: (count) => socket.push(Buffer.from(buffer.subarray(0, count))),
  });
  return socket;
}
