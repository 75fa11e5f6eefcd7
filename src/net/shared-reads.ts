import type { OnReadOpts, Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** As much as one read of the kernel brings at most; libuv asks for no more. */
const buffer = Buffer.allocUnsafeSlow(64 * 1024);

type BytesListener = (bytes: Buffer) => void;

/** Sockets that read into the buffer, each with who hears its bytes where they lie. */
const listeners = new WeakMap<Duplex, { current: BytesListener | undefined }>();

/**
 * Opens a socket that reads into a buffer which all sockets of the thread share. Node's default is a buffer of 64 KiB for each read, given back in
 * part: memory outside the heap that makes the collector run far too often. Whoever does not read with `onBytes` hears copies.
 */
export function withSharedReads<S extends Socket>(connect: (onread: OnReadOpts) => S): S {
  const listener: { current: BytesListener | undefined } = { current: undefined };
  const socket: S = connect({
    buffer,
    callback: (count) => {
      const bytes = buffer.subarray(0, count);
      if (listener.current === undefined || !socket.readableFlowing || socket.readableLength > 0) {
        // The stream's own queue and back-pressure: a full one stops the reads until its reader asks again.
        return socket.push(Buffer.from(bytes));
      }
      listener.current(bytes);
      return true;
    },
  });
  listeners.set(socket, listener);
  return socket;
}

/** As `socket.on('data', listener)`, but the bytes are valid during the call only: without a copy, where the socket shares its reads. One listener a socket. */
export function onBytes(socket: Duplex, listener: BytesListener): void {
  socket.on('data', listener);
  const shared = listeners.get(socket);
  if (shared !== undefined) shared.current = listener;
}

export function offBytes(socket: Duplex, listener: BytesListener): void {
  socket.off('data', listener);
  const shared = listeners.get(socket);
  if (shared?.current === listener) shared.current = undefined;
}
