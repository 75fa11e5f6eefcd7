import type { Duplex } from 'node:stream';
import { offBytes, onBytes } from '#net/shared-reads.ts';

/**
 * Hears all that happens to a socket, in the order in which it may happen, and starts its flow. Bytes are valid during the call.
 * @returns what ends that; errors are heard on unless the socket is given up to somebody else, since an unheard one ends the process
 */
export function hearSocket(
  socket: Duplex,
  onData: (bytes: Buffer) => void,
  onEnd: () => void,
  onDrain: () => void,
  onError: (error: Error) => void,
  onClose: () => void,
): (isGivenUp: boolean) => void {
  onBytes(socket, onData);
  socket.on('end', onEnd).on('drain', onDrain).on('error', onError).on('close', onClose);
  if (socket.destroyed) process.nextTick(onClose);
  else socket.resume();
  return (isGivenUp) => {
    offBytes(socket, onData);
    socket.off('end', onEnd).off('drain', onDrain).off('close', onClose);
    if (isGivenUp) socket.off('error', onError);
  };
}
