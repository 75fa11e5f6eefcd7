import { type OnReadOpts, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { hearRead } from './after-read.ts';

/** As much as one read of the kernel brings at most; libuv asks for no more. */
const buffer = Buffer.allocUnsafeSlow(64 * 1024);

type BytesListener = (bytes: Buffer) => void;

interface Reader {
  current: BytesListener | undefined;
}

/** Sockets that tell what they read as it comes, each with who hears it. */
const readers = new WeakMap<Duplex, Reader>();

/**
 * Opens a socket that reads into a buffer which all sockets of the thread share. Node's default is a buffer of 64 KiB for each read, given back in
 * part: memory outside the heap that makes the collector run far too often. Whoever does not read with `onBytes` hears copies.
 */
export function withSharedReads<S extends Socket>(connect: (onread: OnReadOpts) => S): S {
  const reader: Reader = { current: undefined };
  const socket: S = connect({
    buffer,
    callback: (count) => {
      const bytes = buffer.subarray(0, count);
      if (reader.current === undefined || !socket.readableFlowing || socket.readableLength > 0) {
        // The stream's own queue and back-pressure: a full one stops the reads until its reader asks again.
        return socket.push(Buffer.from(bytes));
      }
      hearRead(reader.current, bytes);
      return true;
    },
  });
  readers.set(socket, reader);
  return socket;
}

/**
 * A socket that was accepted cannot share its reads, and hands what it has read to its `push`. From there to the 'data' event are three layers and a
 * tick, which only what has to wait goes through: while its reader pauses, and in order behind it.
 */
function readerAtPush(socket: Socket): Reader {
  const reader: Reader = { current: undefined };
  const { push } = socket;
  socket.push = (chunk: Buffer | null, encoding) => {
    if (chunk === null || reader.current === undefined || !socket.readableFlowing || socket.readableLength > 0) {
      return push.call(socket, chunk, encoding);
    }
    hearRead(reader.current, chunk);
    return true;
  };
  readers.set(socket, reader);
  return reader;
}

/**
 * As `socket.on('data', listener)`, but the bytes are valid during the call only: without a copy, where the socket shares its reads, and past the
 * stream's queue. One listener a socket.
 */
export function onBytes(socket: Duplex, listener: BytesListener): void {
  socket.on('data', listener);
  const reader = readers.get(socket) ?? (socket instanceof Socket ? readerAtPush(socket) : undefined);
  if (reader !== undefined) reader.current = listener;
}

export function offBytes(socket: Duplex, listener: BytesListener): void {
  socket.off('data', listener);
  const reader = readers.get(socket);
  if (reader?.current === listener) reader.current = undefined;
}
