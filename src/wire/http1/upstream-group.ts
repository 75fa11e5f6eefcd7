import type { Duplex } from 'node:stream';
import { messageOf } from '#runtime/errors.ts';
import { Deadline } from '../deadline.ts';
import type { ClientExchangeListener, Upstream } from '../exchange.ts';
import type { OutgoingRequest } from '../message.ts';
import { WireError } from '../wire-error.ts';
import { type ClientConnectionOptions, type ConnectionOwner, Http1ClientConnection } from './client-connection.ts';
import { type ExchangeOwner, PooledExchange } from './pooled-exchange.ts';

/** Connections and waiting requests of one upstream key. */
export class UpstreamGroup implements ConnectionOwner, ExchangeOwner {
  readonly #options: ClientConnectionOptions;
  readonly #onEmpty: () => void;
  /** The one used last is at the end: it is taken first, so that others can expire. */
  readonly #idle: Http1ClientConnection[] = [];
  readonly #connections = new Set<Http1ClientConnection>();
  readonly #queue: PooledExchange[] = [];
  readonly #idleDeadline: Deadline;
  readonly #queueDeadline: Deadline;
  #upstream: Upstream;
  /** Exchanges that hold a connection or wait for one being opened. */
  #inFlight = 0;
  #isRetired = false;
  readonly #abort = new AbortController();

  constructor(upstream: Upstream, options: ClientConnectionOptions, onEmpty: () => void) {
    this.#upstream = upstream;
    this.#options = options;
    this.#onEmpty = onEmpty;
    this.#idleDeadline = new Deadline(options.clock, () => this.#closeExpired());
    this.#queueDeadline = new Deadline(options.clock, () => this.#failExpired());
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get idle(): number {
    return this.#idle.length;
  }

  get queued(): number {
    return this.#queue.length;
  }

  submit(upstream: Upstream, request: OutgoingRequest, listener: ClientExchangeListener): PooledExchange {
    this.#upstream = upstream;
    const exchange = new PooledExchange(request, listener, this);
    const { inFlightMax, queueMax } = this.#options.pool;
    if (this.#inFlight < inFlightMax) this.#begin(exchange);
    else if (this.#queue.length < queueMax) this.#enqueue(exchange);
    else
      exchange.fail(
        new WireError('upstream_overloaded', 'too many requests wait for the upstream', { retryable: true }),
      );
    return exchange;
  }

  /** Idle connections close now, the others after their exchange. The pool sends nothing new to this group. */
  retire(): void {
    this.#isRetired = true;
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  destroy(): void {
    this.retire();
    const gone = new WireError('upstream_failed', 'the pool was closed');
    for (const exchange of this.#queue.splice(0)) exchange.fail(gone);
    for (const connection of [...this.#connections]) connection.fail(gone);
    this.#abort.abort(gone);
    this.#idleDeadline.dispose();
    this.#queueDeadline.dispose();
  }

  released(connection: Http1ClientConnection, isReusable: boolean): void {
    this.#inFlight--;
    if (isReusable && this.#isRetired) connection.destroy();
    else if (isReusable) {
      this.#idle.push(connection);
      if (!this.#idleDeadline.isSet) this.#idleDeadline.set(this.#options.pool.idleMs);
    }
    this.#serveQueue();
  }

  closed(connection: Http1ClientConnection): void {
    this.#connections.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#leaveIfEmpty();
  }

  replay(exchange: PooledExchange): void {
    void this.#open(exchange);
  }

  failed(): void {
    this.#inFlight--;
    this.#serveQueue();
  }

  abandoned(exchange: PooledExchange): void {
    const at = this.#queue.indexOf(exchange);
    if (at >= 0) this.#queue.splice(at, 1);
    this.#leaveIfEmpty();
  }

  #begin(exchange: PooledExchange): void {
    this.#inFlight++;
    const connection = this.#takeIdle();
    if (connection === undefined) void this.#open(exchange);
    else exchange.start(connection);
  }

  #takeIdle(): Http1ClientConnection | undefined {
    if (this.#idle.length === 0) return undefined;
    const now = this.#options.clock.monotonic();
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (connection.isUsable(now)) return connection;
      connection.destroy();
    }
    return undefined;
  }

  /** The slot of `exchange` is taken already. It comes free here when there will be no connection for it. */
  async #open(exchange: PooledExchange): Promise<void> {
    let socket: Duplex;
    try {
      socket = await this.#connect();
    } catch (cause) {
      exchange.fail(connectError(cause));
      this.failed();
      return;
    }
    const { idleMs } = this.#upstream;
    const connection = new Http1ClientConnection(socket, this, this.#options, idleMs ?? this.#options.pool.idleMs);
    this.#connections.add(connection);
    if (exchange.isOver) this.released(connection, true);
    else exchange.start(connection);
  }

  /** A `connect` that ignores its signal loses its socket when it comes after the time. */
  #connect(): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const abort = new AbortController();
      const give = (error: WireError) => {
        abort.abort(error);
        reject(error);
      };
      const onClosed = () => give(this.#abort.signal.reason);
      const deadline = new Deadline(this.#options.clock, () => {
        give(
          new WireError('upstream_timeout', 'the upstream did not accept a connection in time', { retryable: true }),
        );
      });
      const settle = () => {
        deadline.dispose();
        this.#abort.signal.removeEventListener('abort', onClosed);
      };
      deadline.set(this.#options.pool.connectMs);
      this.#abort.signal.addEventListener('abort', onClosed, { once: true });
      this.#upstream.connect(abort.signal).then(
        (socket) => {
          settle();
          if (abort.signal.aborted) socket.destroy();
          else resolve(socket);
        },
        (error: unknown) => {
          settle();
          reject(error);
        },
      );
    });
  }

  #enqueue(exchange: PooledExchange): void {
    exchange.queuedAt = this.#options.clock.monotonic();
    this.#queue.push(exchange);
    if (!this.#queueDeadline.isSet) this.#queueDeadline.set(this.#options.pool.queueMs);
  }

  #serveQueue(): void {
    while (this.#queue.length > 0 && this.#inFlight < this.#options.pool.inFlightMax) this.#begin(this.#queue.shift()!);
    this.#leaveIfEmpty();
  }

  #failExpired(): void {
    const { queueMs } = this.#options.pool;
    const now = this.#options.clock.monotonic();
    const expired: PooledExchange[] = [];
    while (this.#queue.length > 0 && this.#queue[0]!.queuedAt + queueMs <= now) expired.push(this.#queue.shift()!);
    if (this.#queue.length > 0) this.#queueDeadline.set(this.#queue[0]!.queuedAt + queueMs - now);
    const error = new WireError('upstream_overloaded', 'the request waited too long for the upstream', {
      retryable: true,
    });
    for (const exchange of expired) exchange.fail(error);
  }

  #closeExpired(): void {
    const now = this.#options.clock.monotonic();
    for (const connection of [...this.#idle]) if (!connection.isUsable(now)) connection.destroy();
    const next = Math.min(...this.#idle.map((connection) => connection.idleUntil));
    if (this.#idle.length > 0) this.#idleDeadline.set(next - now);
  }

  #leaveIfEmpty(): void {
    if (this.#inFlight + this.#connections.size + this.#queue.length > 0) return;
    this.#idleDeadline.dispose();
    this.#queueDeadline.dispose();
    this.#onEmpty();
  }
}

function connectError(cause: unknown): WireError {
  if (cause instanceof WireError) return cause;
  const message = `no connection to the upstream: ${messageOf(cause)}`;
  return new WireError('upstream_unreachable', message, { cause, retryable: true });
}
