import type { Duplex } from 'node:stream';
import { connectInTime } from './connect-in-time.ts';
import type { ClientExchange, ClientExchangeListener, Upstream } from './exchange.ts';
import { Http1Group } from './http1/http1-group.ts';
import { Http2Group } from './http2/http2-group.ts';
import type { OutgoingRequest } from './message.ts';
import { negotiatedProtocol } from './negotiated-protocol.ts';
import type { ClientOptions, UpstreamGroup } from './upstream-group.ts';
import { overloaded, WaitingQueue } from './waiting-queue.ts';
import { WireError } from './wire-error.ts';

/** The group for what `upstream` speaks. `onEmpty`: it holds nothing any more. */
export function groupFor(upstream: Upstream, options: ClientOptions, onEmpty: () => void): UpstreamGroup {
  const { protocol = 'http/1.1' } = upstream;
  if (protocol === 'negotiated') return new NegotiatedGroup(upstream, options, onEmpty);
  return protocol === 'h2' ? new Http2Group(upstream, options, onEmpty) : new Http1Group(upstream, options, onEmpty);
}

/** Requests wait while the first connection is made; what it speaks decides how they go on. */
class NegotiatedGroup implements UpstreamGroup {
  readonly #options: ClientOptions;
  readonly #onEmpty: () => void;
  readonly #waiting: WaitingQueue<WaitingExchange>;
  readonly #abort = new AbortController();
  #group: UpstreamGroup | undefined;
  #isRetired = false;

  constructor(upstream: Upstream, options: ClientOptions, onEmpty: () => void) {
    this.#options = options;
    this.#onEmpty = onEmpty;
    this.#waiting = new WaitingQueue(options.clock, options.pool.queueMs);
    void this.#negotiate(upstream);
  }

  get inFlight(): number {
    return this.#group?.inFlight ?? 0;
  }

  get streams(): number {
    return this.#group?.streams ?? 0;
  }

  get idle(): number {
    return this.#group?.idle ?? 0;
  }

  get queued(): number {
    return this.#waiting.length + (this.#group?.queued ?? 0);
  }

  submit(upstream: Upstream, request: OutgoingRequest, listener: ClientExchangeListener): ClientExchange {
    if (this.#group !== undefined) return this.#group.submit(upstream, request, listener);
    const { inFlightMax, queueMax } = this.#options.pool;
    const exchange = new WaitingExchange(upstream, request, listener, this.#waiting);
    if (this.#waiting.length < inFlightMax + queueMax) this.#waiting.push(exchange);
    else exchange.fail(overloaded());
    return exchange;
  }

  adopt(socket: Duplex): void {
    this.#group?.adopt(socket);
  }

  retire(): void {
    this.#isRetired = true;
    this.#group?.retire();
  }

  destroy(): void {
    const gone = new WireError('upstream_failed', 'the pool was closed');
    this.#abort.abort(gone);
    this.#waiting.failAll(gone);
    this.#waiting.dispose();
    this.#group?.destroy();
  }

  async #negotiate(upstream: Upstream): Promise<void> {
    const { clock, pool } = this.#options;
    let socket: Duplex;
    try {
      socket = await connectInTime(upstream, clock, pool.connectMs, this.#abort.signal);
    } catch (error) {
      this.#waiting.dispose();
      this.#onEmpty();
      this.#waiting.failAll(error as WireError);
      return;
    }
    const Group = negotiatedProtocol(socket) === 'h2' ? Http2Group : Http1Group;
    const group = new Group(upstream, this.#options, this.#onEmpty);
    this.#group = group;
    group.adopt(socket);
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) next.submitTo(group);
    this.#waiting.dispose();
    if (this.#isRetired) group.retire();
  }
}

/** A request whose upstream is being asked what it speaks. */
class WaitingExchange implements ClientExchange {
  readonly #upstream: Upstream;
  readonly #request: OutgoingRequest;
  readonly #listener: ClientExchangeListener;
  readonly #queue: WaitingQueue<WaitingExchange>;
  #exchange: ClientExchange | undefined;

  constructor(
    upstream: Upstream,
    request: OutgoingRequest,
    listener: ClientExchangeListener,
    queue: WaitingQueue<WaitingExchange>,
  ) {
    this.#upstream = upstream;
    this.#request = request;
    this.#listener = listener;
    this.#queue = queue;
  }

  submitTo(group: UpstreamGroup): void {
    this.#exchange = group.submit(this.#upstream, this.#request, this.#listener);
  }

  fail(error: WireError): void {
    this.#listener.onFailed(error);
  }

  write(bytes: Buffer): boolean {
    return this.#exchange?.write(bytes) ?? true;
  }

  end(trailers?: string): void {
    this.#exchange?.end(trailers);
  }

  resume(): void {
    this.#exchange?.resume();
  }

  abort(): void {
    if (this.#exchange === undefined) this.#queue.delete(this);
    else this.#exchange.abort();
  }
}
