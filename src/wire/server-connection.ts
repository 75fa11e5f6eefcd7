import type { Duplex } from 'node:stream';
import type { Clock } from '#runtime/clock.ts';
import { DetectedConnection } from './detect-protocol.ts';
import type { ExchangeHandler, Protocol } from './exchange.ts';
import { Http1ServerConnection } from './http1/server-connection.ts';
import { Http2ServerConnection } from './http2/server-connection.ts';
import {
  defaultHttpLimits,
  defaultHttpTimeouts,
  type HttpLimits,
  type HttpTimeouts,
  headBytesCeiling,
} from './limits.ts';
import { OpaqueConnection } from './opaque-connection.ts';
import type { GeneratedResponse } from './respond.ts';
import type { WireError } from './wire-error.ts';

export interface ServeOptions<Context> {
  readonly clock: Clock;
  readonly limits?: Partial<HttpLimits>;
  readonly timeouts?: Partial<HttpTimeouts>;
  /**
   * A request that never became an exchange: its head broke a rule or came too slowly. Returns the answer; by default it is the error's status
   * and message.
   */
  onRefused?(error: WireError, context: Context): GeneratedResponse | undefined;
  /** The handler threw: a fault of ours. The client got 500, or a broken message. */
  onHandlerError?(error: unknown, context: Context): void;
  onClose?(): void;
  /** Where the protocol is `detected`: what it is. */
  onDetected?(protocol: Protocol): void;
  /** What the client speaks: chosen by ALPN, or known; `detected`: as its first bytes show; `opaque`: nothing that we know. Default: HTTP/1.1. */
  readonly protocol?: Protocol | 'detected' | 'opaque';
}

export interface ResolvedServeOptions<Context> extends ServeOptions<Context> {
  readonly limits: HttpLimits;
  readonly timeouts: HttpTimeouts;
}

export interface ServerConnection extends AsyncDisposable {
  /** Ends after what is in flight: the next response says `Connection: close`, an idle connection closes now. */
  drain(): void;
  /** Ends now. */
  destroy(): void;
  readonly isClosed: boolean;
  /** Streams that are open, where it is HTTP/2. */
  readonly openStreams?: number;
  /** Resolves when the connection is gone, or was given up as a tunnel. */
  readonly closed: Promise<void>;
}

/**
 * Serves HTTP on a duplex that is ready for bytes: an accepted TCP or TLS socket, or the inside of a CONNECT tunnel. `context`
 * is what the consumer knows of the connection; each exchange carries it. Takes ownership of the socket.
 */
export function serveConnection<Context>(
  socket: Duplex,
  context: Context,
  handler: ExchangeHandler<Context>,
  options: ServeOptions<Context>,
): ServerConnection {
  const limits = resolveLimits(options.limits);
  const timeouts = { ...defaultHttpTimeouts, ...options.timeouts };
  const Connection = engines[options.protocol ?? 'http/1.1'];
  return new Connection(socket, context, handler, { ...options, limits, timeouts });
}

/** Streams that are open on all of them. */
export function streamsOf(connections: Iterable<ServerConnection>): number {
  let streams = 0;
  for (const { openStreams = 0 } of connections) streams += openStreams;
  return streams;
}

const engines = {
  'http/1.1': Http1ServerConnection,
  h2: Http2ServerConnection,
  detected: DetectedConnection,
  opaque: OpaqueConnection,
} as const;

/** @throws RangeError for a limit that the scan buffer cannot hold: a programmer's mistake. */
export function resolveLimits(limits: Partial<HttpLimits> | undefined): HttpLimits {
  const resolved = { ...defaultHttpLimits, ...limits };
  if (Math.max(resolved.headBytesMax, resolved.trailerBytesMax) > headBytesCeiling) {
    throw new RangeError(`headBytesMax and trailerBytesMax must not be above ${headBytesCeiling}`);
  }
  return resolved;
}
