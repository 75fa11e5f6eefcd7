import { connect, type TLSSocket } from 'node:tls';

/**
 * TLS to an application on loopback whose certificate nobody checks, as the kubelet does for `scheme: HTTPS`: for probes, which carry nothing that the
 * wrong listener must not see. HTTP/1.1.
 * @throws the socket's error, or the signal's reason
 */
export function dialUnverified(host: string, port: number, signal: AbortSignal): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const socket = connect({ host, port, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });
    const onAbort = () => {
      socket.destroy();
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    // The handler stays: a reset later is a 'close', and never the end of the process.
    socket.on('error', (error) => {
      signal.removeEventListener('abort', onAbort);
      reject(error);
    });
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', onAbort);
      resolve(socket);
    });
  });
}
