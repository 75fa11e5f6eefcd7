import { readFile } from 'node:fs/promises';
import { createServer, type TLSSocket } from 'node:tls';
import { readPrivateFile } from '#certs/private-file.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Address } from '#runtime/config.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import type { ExchangeHandler } from '#wire/exchange.ts';
import type { WireLimits } from '#wire/limit-settings.ts';
import { negotiatedProtocol } from '#wire/negotiated-protocol.ts';
import type { GeneratedResponse } from '#wire/respond.ts';
import { type ServerConnection, serveConnection } from '#wire/server-connection.ts';
import type { WireError } from '#wire/wire-error.ts';
import type { EdgeClient } from './edge.ts';

interface EdgeListenerOptions {
  readonly listen: Address;
  readonly certificate: string;
  readonly certificateKey: string;
  readonly limits: WireLimits;
  readonly clock: Clock;
  readonly onRefused: (error: WireError) => GeneratedResponse;
  readonly onHandlerError: (error: unknown) => void;
}

export interface EdgeListener extends AsyncDisposable {
  readonly address: { readonly host: string; readonly port: number };
  readonly connections: number;
  /** Accepts nothing more, lets requests end for at most `graceMs`. */
  close(graceMs: number): Promise<void>;
}

const handshakeMs = 10_000;

/**
 * HTTPS for customers: a certificate from files, TLS 1.2 or 1.3, HTTP/2 or HTTP/1.1.
 * @throws CellmeshError `file_unreadable`, `key_permissions`, `port_taken`, `start_failed`
 */
export async function listenEdge(
  handler: ExchangeHandler<EdgeClient>,
  options: EdgeListenerOptions,
): Promise<EdgeListener> {
  const { clock, listen, limits, onRefused, onHandlerError } = options;
  const serving = { clock, limits: limits.requests, timeouts: limits.timeouts, onRefused, onHandlerError };
  const open = new Map<TLSSocket, ServerConnection>();
  const server = createServer({
    cert: await readCertificate(options.certificate),
    key: await readPrivateFile(options.certificateKey),
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: handshakeMs,
    noDelay: true,
  });
  server.maxConnections = limits.connectionsMax;
  server.on('tlsClientError', (_, socket) => socket.destroy());
  server.on('secureConnection', (socket) => {
    const onClose = () => void open.delete(socket);
    const client = { address: socket.remoteAddress ?? 'unknown' };
    const protocol = negotiatedProtocol(socket);
    open.set(socket, serveConnection(socket, client, handler, { ...serving, protocol, onClose }));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const where = `${listen.host}:${listen.port}`;
      const isTaken = cause.code === 'EADDRINUSE';
      reject(
        isTaken
          ? new CellmeshError('port_taken', `${where} is in use by another program; stop it or set another one`, {
              cause,
            })
          : new CellmeshError('start_failed', `cannot listen on ${where}: ${cause.message}`, { cause }),
      );
    });
    server.listen(listen, resolve);
  });
  const close = async (graceMs: number) => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const cut = clock.schedule(graceMs, () => {
      for (const connection of open.values()) connection.destroy();
    });
    for (const connection of open.values()) connection.drain();
    await Promise.all([...open.values()].map((connection) => connection.closed));
    cut.cancel();
    await closed;
  };
  const bound = server.address();
  return {
    address: { host: listen.host, port: typeof bound === 'object' && bound !== null ? bound.port : listen.port },
    get connections() {
      return open.size;
    },
    close,
    [Symbol.asyncDispose]: () => close(0),
  };
}

async function readCertificate(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new CellmeshError('file_unreadable', `${path}: ${messageOf(cause)}`, { cause });
  }
}
