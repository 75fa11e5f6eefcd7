import type { Duplex } from 'node:stream';
import { connectInTime } from '../connect-in-time.ts';
import { Deadline } from '../deadline.ts';
import type { ClientExchangeListener, Upstream } from '../exchange.ts';
import type { OutgoingRequest } from '../message.ts';
import type { ClientOptions, UpstreamGroup } from '../upstream-group.ts';
import { overloaded, WaitingQueue } from '../waiting-queue.ts';
import { WireError } from '../wire-error.ts';
import { type ConnectionOwner, Http1ClientConnection } from './client-connection.ts';
import { type ExchangeOwner, PooledExchange } from './pooled-exchange.ts';

/** Connections and waiting requests of one upstream key. */
export class Http1Group implements UpstreamGroup, ConnectionOwner, ExchangeOwner {
  readonly #options: ClientOptions;
  readonly #onEmpty: () => void;
  /** The one used last is at the end: it is taken first, so that others can expire. */
  readonly #idle: Http1ClientConnection[] = [];
  readonly #connections = new Set<Http1ClientConnection>();
  readonly #queue: WaitingQueue<PooledExchange>;
  readonly #idleDeadline: Deadline;
  readonly streams = 0;
  #upstream: Upstream;
  /** Exchanges that hold a connection or wait for one being opened. */
  #inFlight = 0;
  #isRetired = false;
  readonly #abort = new AbortController();

  constructor(upstream: Upstream, options: ClientOptions, onEmpty: () => void) {
    this.#upstream = upstream;
    this.#options = options;
    this.#onEmpty = onEmpty;
    this.#idleDeadline = new Deadline(options.clock, () => this.#closeExpired());
    this.#queue = new WaitingQueue(options.clock, options.pool.queueMs);
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
    if (request.method === 'CONNECT') {
      exchange.fail(
        new WireError('upstream_unreachable', 'the upstream does not speak HTTP/2, which carries connections'),
      );
      this.#leaveIfEmpty();
    } else if (this.#inFlight < inFlightMax) this.#begin(exchange);
    else if (this.#queue.length < queueMax) this.#queue.push(exchange);
    else exchange.fail(overloaded());
    return exchange;
  }

  adopt(socket: Duplex): void {
    const connection = this.#newConnection(socket);
    this.#inFlight++;
    this.released(connection, true);
  }

  /** Idle connections close now, the others after their exchange. The pool sends nothing new to this group. */
  retire(): void {
    this.#isRetired = true;
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  destroy(): void {
    this.retire();
    const gone = new WireError('upstream_failed', 'the pool was closed');
    this.#queue.failAll(gone);
    for (const connection of [...this.#connections]) connection.fail(gone);
    this.#abort.abort(gone);
    this.#idleDeadline.dispose();
    this.#queue.dispose();
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
    this.#queue.delete(exchange);
    this.#leaveIfEmpty();
  }

  #begin(exchange: PooledExchange): void {
    this.#inFlight++;
    const now = this.#options.clock.monotonic();
    const connection = this.#takeIdle(now);
    if (connection === undefined) void this.#open(exchange);
    else exchange.start(connection, now);
  }

  #takeIdle(now: number): Http1ClientConnection | undefined {
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
      const { clock, pool } = this.#options;
      socket = await connectInTime(this.#upstream, clock, pool.connectMs, this.#abort.signal, 'http/1.1');
    } catch (error) {
      exchange.fail(error as WireError);
      this.failed();
      return;
    }
    const connection = this.#newConnection(socket);
    if (exchange.isOver) this.released(connection, true);
    else exchange.start(connection, this.#options.clock.monotonic());
  }

  #newConnection(socket: Duplex): Http1ClientConnection {
    const { idleMs = this.#options.pool.idleMs } = this.#upstream;
    const connection = new Http1ClientConnection(socket, this, this.#options, idleMs);
    this.#connections.add(connection);
    return connection;
  }

  #serveQueue(): void {
    while (this.#queue.length > 0 && this.#inFlight < this.#options.pool.inFlightMax) this.#begin(this.#queue.shift()!);
    this.#leaveIfEmpty();
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
    this.#queue.dispose();
    this.#onEmpty();
  }
}
