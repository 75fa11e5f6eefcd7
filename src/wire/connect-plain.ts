import net from 'node:net';
import { withSharedReads } from '#net/shared-reads.ts';

/**
 * Opens a TCP connection, for `Upstream.connect` to an application on loopback. `allowHalfOpen`: each side is closed by itself.
 * @throws the socket's error, or the signal's reason
 */
export function connectPlain(
  host: string,
  port: number,
  signal: AbortSignal,
  allowHalfOpen = false,
): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const target = { host, port, noDelay: true, autoSelectFamily: false, allowHalfOpen };
    const socket = withSharedReads((onread) => net.connect({ ...target, onread }));
    const settle = () => {
      signal.removeEventListener('abort', onAbort);
      socket.off('error', onError).off('connect', onConnect);
    };
    const onAbort = () => {
      settle();
      socket.on('error', () => {}).destroy();
      reject(signal.reason);
    };
    const onError = (error: Error) => {
      settle();
      reject(error);
    };
    const onConnect = () => {
      settle();
      resolve(socket);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('error', onError).on('connect', onConnect);
  });
}
