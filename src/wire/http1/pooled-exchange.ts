import type { Duplex } from 'node:stream';
import { idempotentMethods } from '#runtime/idempotent-methods.ts';
import type { ClientExchange, ClientExchangeListener } from '../exchange.ts';
import type { OutgoingRequest, ResponseHead } from '../message.ts';
import type { WireError } from '../wire-error.ts';
import type { CarriedExchange } from './carried-exchange.ts';
import type { Http1ClientConnection } from './client-connection.ts';

/** The pool's side of an exchange. */
export interface ExchangeOwner {
  /** Its connection failed before anything came back: send it again on a new one. */
  replay(exchange: PooledExchange): void;
  /** Its connection failed for good: another exchange may take its place. */
  failed(): void;
  /** It was given up before it had a connection. */
  abandoned(exchange: PooledExchange): void;
}

/** One request on its way through the pool: waiting, connecting, or on a connection. */
export class PooledExchange implements ClientExchange, CarriedExchange {
  readonly request: OutgoingRequest;
  isOver = false;
  readonly #listener: ClientExchangeListener;
  readonly #owner: ExchangeOwner;
  #connection: Http1ClientConnection | undefined;
  #isReplayed = false;

  constructor(request: OutgoingRequest, listener: ClientExchangeListener, owner: ExchangeOwner) {
    this.request = request;
    this.#listener = listener;
    this.#owner = owner;
  }

  /** `now`: Clock.monotonic() */
  start(connection: Http1ClientConnection, now: number): void {
    this.#connection = connection;
    connection.begin(this, now);
    if (!this.#isReplayed) this.#listener.onRequestReady(this);
  }

  write(bytes: Buffer): boolean {
    return this.#connection?.write(bytes) ?? true;
  }

  end(trailers = ''): void {
    this.#connection?.end(trailers);
  }

  resume(): void {
    this.#connection?.resume();
  }

  abort(): void {
    if (this.isOver) return;
    this.isOver = true;
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection === undefined) this.#owner.abandoned(this);
    else connection.destroy();
  }

  fail(error: WireError): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#connection = undefined;
    this.#listener.onFailed(error);
  }

  informed(head: ResponseHead): void {
    this.#listener.onInformed(head);
  }

  switched(socket: Duplex, head: ResponseHead): void {
    this.isOver = true;
    this.#connection = undefined;
    if (this.#listener.onTunnel === undefined) socket.destroy();
    else this.#listener.onTunnel(socket, head);
  }

  responded(head: ResponseHead): void {
    this.#listener.onResponse(head);
  }

  data(bytes: Buffer): boolean {
    return this.#listener.onResponseData(bytes);
  }

  requestWritable(): void {
    this.#listener.onRequestWritable();
  }

  completed(trailers: string): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#connection = undefined;
    this.#listener.onResponseEnd(trailers);
  }

  /** One replay at most, of what changes nothing when it arrives twice and has no body that is gone. */
  connectionFailed(error: WireError, isUnanswered: boolean): void {
    this.#connection = undefined;
    const { method, framing, contentLength } = this.request;
    const hasBody = framing === 'chunked' || contentLength > 0;
    if (
      isUnanswered &&
      !hasBody &&
      !this.#isReplayed &&
      error.code === 'upstream_failed' &&
      idempotentMethods.has(method)
    ) {
      this.#isReplayed = true;
      this.#owner.replay(this);
      return;
    }
    this.fail(error);
    this.#owner.failed();
  }
}
