import type { Duplex } from 'node:stream';
import { Deadline } from './deadline.ts';
import type { ExchangeHandler } from './exchange.ts';
import { Http1ServerConnection } from './http1/server-connection.ts';
import { clientPreface } from './http2/protocol.ts';
import { Http2ServerConnection } from './http2/server-connection.ts';
import type { ResolvedServeOptions, ServerConnection } from './server-connection.ts';

/**
 * A connection without TLS, whose client shows by its first bytes what it speaks: HTTP/2 begins with a request that HTTP/1.1 does not know
 * (RFC 9113 3.3, prior knowledge). Everything else is for the HTTP/1.1 engine to judge.
 */
export class DetectedConnection<Context> implements ServerConnection {
  readonly closed: Promise<void>;
  readonly #socket: Duplex;
  readonly #serve: (isHttp2: boolean) => ServerConnection;
  readonly #idle: Deadline;
  #begun: Buffer = Buffer.alloc(0);
  #connection: ServerConnection | undefined;
  #isDraining = false;
  #resolveClosed: () => void = () => {};

  constructor(
    socket: Duplex,
    context: Context,
    handler: ExchangeHandler<Context>,
    options: ResolvedServeOptions<Context>,
  ) {
    this.#socket = socket;
    this.#serve = (isHttp2) => {
      options.onDetected?.(isHttp2 ? 'h2' : 'http/1.1');
      const Connection = isHttp2 ? Http2ServerConnection : Http1ServerConnection;
      return new Connection(socket, context, handler, options);
    };
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#idle = new Deadline(options.clock, () => this.#begin(false));
    this.#idle.set(options.timeouts.headMs);
    socket.on('data', this.#onData).on('close', this.#onClose).on('end', this.#onEnd).on('error', this.#onError);
    if (socket.destroyed) process.nextTick(this.#onClose);
    else socket.resume();
  }

  get openStreams(): number {
    return this.#connection?.openStreams ?? 0;
  }

  get isClosed(): boolean {
    return this.#connection?.isClosed ?? this.#socket.destroyed;
  }

  drain(): void {
    this.#isDraining = true;
    if (this.#connection === undefined) this.#begin(false);
    else this.#connection.drain();
  }

  destroy(): void {
    if (this.#connection === undefined) this.#socket.destroy();
    else this.#connection.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
    await this.closed;
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#begun = this.#begun.length === 0 ? chunk : Buffer.concat([this.#begun, chunk]);
    const count = Math.min(this.#begun.length, clientPreface.length);
    const isPreface = clientPreface.compare(this.#begun, 0, count, 0, count) === 0;
    if (!isPreface || count === clientPreface.length) this.#begin(isPreface);
  };

  readonly #onEnd = (): void => this.#begin(false);
  readonly #onError = (): void => {};
  readonly #onClose = (): void => {
    this.#idle.dispose();
    this.#begin(false);
  };

  #begin(isHttp2: boolean): void {
    if (this.#connection !== undefined) return;
    const socket = this.#socket;
    this.#idle.dispose();
    socket.off('data', this.#onData).off('close', this.#onClose).off('end', this.#onEnd);
    socket.pause();
    if (this.#begun.length > 0) socket.unshift(this.#begun);
    const connection = this.#serve(isHttp2);
    this.#connection = connection;
    socket.off('error', this.#onError);
    void connection.closed.then(this.#resolveClosed);
    if (this.#isDraining) connection.drain();
  }
}
