import type { Duplex } from 'node:stream';
import { connectInTime } from '../connect-in-time.ts';
import type { ClientExchangeListener, Upstream } from '../exchange.ts';
import type { OutgoingRequest } from '../message.ts';
import type { ClientOptions, UpstreamGroup } from '../upstream-group.ts';
import { overloaded, WaitingQueue } from '../waiting-queue.ts';
import { WireError } from '../wire-error.ts';
import { Http2ClientConnection } from './client-connection.ts';
import { type ExchangeOwner, Http2ClientExchange } from './client-exchange.ts';

/** The connections of one upstream: one, and more only while its streams are full. */
export class Http2Group implements UpstreamGroup, ExchangeOwner {
  readonly #options: ClientOptions;
  readonly #onEmpty: () => void;
  /** Few, and walked for each request. Neither array changes: there is another one with every change. */
  #connections: readonly Http2ClientConnection[] = [];
  #leaving: readonly Http2ClientConnection[] = [];
  readonly #queue: WaitingQueue<Http2ClientExchange>;
  readonly #abort = new AbortController();
  #upstream: Upstream;
  #isConnecting = false;
  #isRetired = false;

  constructor(upstream: Upstream, options: ClientOptions, onEmpty: () => void) {
    this.#upstream = upstream;
    this.#options = options;
    this.#onEmpty = onEmpty;
    this.#queue = new WaitingQueue(options.clock, options.pool.queueMs);
  }

  get inFlight(): number {
    let streams = 0;
    for (const connection of this.#connections) streams += connection.openStreams;
    for (const connection of this.#leaving) streams += connection.openStreams;
    return streams;
  }

  get streams(): number {
    return this.inFlight;
  }

  get idle(): number {
    let idle = 0;
    for (const connection of this.#connections) if (connection.openStreams === 0) idle++;
    return idle;
  }

  get queued(): number {
    return this.#queue.length;
  }

  submit(upstream: Upstream, request: OutgoingRequest, listener: ClientExchangeListener): Http2ClientExchange {
    this.#upstream = upstream;
    const exchange = new Http2ClientExchange(request, listener, this, this.#options);
    if (this.#queue.length === 0 && this.#begin(exchange)) return exchange;
    const { inFlightMax, queueMax } = this.#options.pool;
    if (this.inFlight + this.#queue.length >= inFlightMax + queueMax) exchange.fail(overloaded());
    else {
      this.#queue.push(exchange);
      this.#connectIfWanted();
    }
    return exchange;
  }

  adopt(socket: Duplex): void {
    const { idleMs = this.#options.pool.idleMs } = this.#upstream;
    const connection = new Http2ClientConnection(socket, this, this.#options, idleMs);
    this.#connections = [...this.#connections, connection];
  }

  retire(): void {
    this.#isRetired = true;
    for (const connection of this.#connections) connection.retire();
  }

  destroy(): void {
    const gone = new WireError('upstream_failed', 'the pool was closed');
    this.#isRetired = true;
    this.#abort.abort(gone);
    this.#queue.failAll(gone);
    for (const connection of [...this.#connections, ...this.#leaving]) connection.destroy(gone);
    this.#queue.dispose();
  }

  // For exchanges.

  replay(exchange: Http2ClientExchange): void {
    this.#queue.unshift(exchange);
    this.#connectIfWanted();
    queueMicrotask(() => this.#serveQueue());
  }

  abandoned(exchange: Http2ClientExchange): void {
    this.#queue.delete(exchange);
    this.#leaveIfEmpty();
  }

  // For connections.

  capacityChanged(): void {
    if (this.#queue.length > 0) this.#serveQueue();
  }

  leaving(connection: Http2ClientConnection): void {
    if (this.#connections.includes(connection)) {
      this.#connections = without(this.#connections, connection);
      this.#leaving = [...this.#leaving, connection];
    }
    this.#connectIfWanted();
  }

  gone(connection: Http2ClientConnection): void {
    this.#connections = without(this.#connections, connection);
    this.#leaving = without(this.#leaving, connection);
    this.#connectIfWanted();
    this.#leaveIfEmpty();
  }

  get #hasRoom(): boolean {
    if (this.inFlight >= this.#options.pool.inFlightMax) return false;
    for (const connection of this.#connections) if (connection.hasRoom) return true;
    return false;
  }

  #begin(exchange: Http2ClientExchange): boolean {
    if (this.inFlight >= this.#options.pool.inFlightMax) return false;
    for (const connection of this.#connections) {
      if (connection.hasRoom && connection.begin(exchange)) return true;
    }
    return false;
  }

  #serveQueue(): void {
    while (this.#hasRoom) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      if (next.isOver || this.#begin(next)) continue;
      this.#queue.unshift(next);
      break;
    }
    this.#connectIfWanted();
    this.#leaveIfEmpty();
  }

  /** Another connection, when some wait and no connection is too few for the streams that may be open. */
  #connectIfWanted(): void {
    if (this.#queue.length === 0 || this.#isConnecting || this.#abort.signal.aborted) return;
    if (this.inFlight >= this.#options.pool.inFlightMax || this.#hasRoom) return;
    this.#isConnecting = true;
    void this.#connect();
  }

  async #connect(): Promise<void> {
    const { clock, pool } = this.#options;
    try {
      const socket = await connectInTime(this.#upstream, clock, pool.connectMs, this.#abort.signal, 'h2');
      this.#isConnecting = false;
      this.adopt(socket);
      this.#serveQueue();
      if (this.#isRetired) this.retire();
    } catch (error) {
      this.#isConnecting = false;
      this.#queue.failAll(error as WireError);
      this.#leaveIfEmpty();
    }
  }

  #leaveIfEmpty(): void {
    if (this.#connections.length + this.#leaving.length + this.#queue.length > 0 || this.#isConnecting) return;
    this.#queue.dispose();
    this.#onEmpty();
  }
}

function without(connections: readonly Http2ClientConnection[], one: Http2ClientConnection): Http2ClientConnection[] {
  return connections.filter((connection) => connection !== one);
}
