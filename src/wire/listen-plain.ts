import type { AddressInfo, Socket } from 'node:net';
import net from 'node:net';
import { CellmeshError } from '#runtime/errors.ts';
import type { ExchangeHandler, Protocol } from './exchange.ts';
import { connectionsMaxDefault } from './limits.ts';
import { type ServeOptions, type ServerConnection, serveConnection, streamsOf } from './server-connection.ts';

export interface PlainListenOptions<Context> extends ServeOptions<Context> {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Others listen there too, and the system spreads connections over all (SO_REUSEPORT; Linux). Default false. */
  readonly reusePort?: boolean;
  /** Made once per connection. */
  readonly contextOf: (socket: Socket) => Context;
  /** Where connections differ in it. Default: `protocol`. */
  readonly protocolOf?: (context: Context) => ServeOptions<Context>['protocol'];
  readonly connectionsMax?: number;
  /** One more than `connectionsMax` came and was closed. */
  onConnectionRefused?(): void;
  /** Called once a connection, when it is known what it speaks; `tcp`: nothing that we know. */
  onConnection?(socket: Socket, protocol: Protocol | 'tcp'): void;
}

export interface PlainListener extends AsyncDisposable {
  readonly address: AddressInfo;
  readonly connections: number;
  /** HTTP/2 streams that are open. */
  readonly streams: number;
  /** Accepts nothing more, lets exchanges end for at most `graceMs`, then cuts off the rest. */
  close(graceMs: number): Promise<void>;
}

/**
 * Serves HTTP on a TCP port without TLS: for loopback, where an application talks to its own sidecar.
 * @throws CellmeshError `port_taken`, `start_failed`
 */
export async function listenPlain<Context>(
  handler: ExchangeHandler<Context>,
  options: PlainListenOptions<Context>,
): Promise<PlainListener> {
  const open = new Set<ServerConnection>();
  const connectionsMax = options.connectionsMax ?? connectionsMaxDefault;
  const server = net.createServer({ noDelay: true, pauseOnConnect: true }, (socket) => {
    if (open.size >= connectionsMax) {
      socket.destroy();
      options.onConnectionRefused?.();
      return;
    }
    const context = options.contextOf(socket);
    const protocol = options.protocolOf?.(context) ?? options.protocol ?? 'detected';
    socket.allowHalfOpen = protocol === 'opaque';
    if (protocol !== 'detected') options.onConnection?.(socket, protocol === 'opaque' ? 'tcp' : protocol);
    const connection = serveConnection(socket, context, handler, {
      ...options,
      protocol,
      onDetected: (detected) => options.onConnection?.(socket, detected),
      onClose: () => {
        open.delete(connection);
        options.onClose?.();
      },
    });
    open.add(connection);
  });
  await listening(server, options);
  const close = async (graceMs: number): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const cut = options.clock.schedule(graceMs, () => {
      for (const connection of open) connection.destroy();
    });
    for (const connection of open) connection.drain();
    await Promise.all([...open].map((connection) => connection.closed));
    cut.cancel();
    await closed;
  };
  return {
    address: server.address() as AddressInfo,
    get connections() {
      return open.size;
    },
    get streams() {
      return streamsOf(open);
    },
    close,
    [Symbol.asyncDispose]: () => close(0),
  };
}

/** @throws CellmeshError `port_taken`, `start_failed` */
export function listening(
  server: net.Server,
  { host, port, reusePort = false }: Pick<PlainListenOptions<never>, 'host' | 'port' | 'reusePort'>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'EADDRINUSE' ? 'port_taken' : 'start_failed';
      reject(new CellmeshError(code, `cannot listen on ${host}:${port}: ${cause.message}`, { cause }));
    });
    server.listen({ host, port, reusePort, backlog: 1024 }, resolve);
  });
}
