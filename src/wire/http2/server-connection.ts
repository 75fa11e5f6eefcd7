import type { Duplex } from 'node:stream';
import type { Scheduled } from '#runtime/clock.ts';
import type { ExchangeHandler, ServerExchange } from '../exchange.ts';
import type { HttpLimits, HttpTimeouts } from '../limits.ts';
import { linesOf } from '../respond.ts';
import { endFaulted, runHandler } from '../run-handler.ts';
import type { ResolvedServeOptions, ServerConnection } from '../server-connection.ts';
import { WireError } from '../wire-error.ts';
import { type ConnectionUser, Http2Connection } from './connection.ts';
import type { DecodedBlock } from './decoded-block.ts';
import { errorCode, streamIdMax } from './protocol.ts';
import { type Http2RequestHead, requestHeadOf } from './request-head.ts';
import { type Http2ExchangeHost, Http2ServerExchange } from './server-exchange.ts';
import type { Http2Stream } from './stream.ts';

/** After the first GOAWAY, for requests that were on their way when it was sent (RFC 9113 6.8). */
const announceMs = 1_000;

/** One accepted connection: as many requests at once as the limits allow. */
export class Http2ServerConnection<Context> implements ServerConnection, ConnectionUser, Http2ExchangeHost {
  readonly role = 'server';
  readonly limits: HttpLimits;
  readonly timeouts: HttpTimeouts;
  readonly closed: Promise<void>;
  readonly #context: Context;
  readonly #handler: ExchangeHandler<Context>;
  readonly #options: ResolvedServeOptions<Context>;
  readonly #connection: Http2Connection;
  #announced: Scheduled | undefined;
  #isDraining = false;
  isClosed = false;
  #resolveClosed: () => void = () => {};

  constructor(
    socket: Duplex,
    context: Context,
    handler: ExchangeHandler<Context>,
    options: ResolvedServeOptions<Context>,
  ) {
    const { clock, limits, timeouts } = options;
    this.#context = context;
    this.#handler = handler;
    this.#options = options;
    this.limits = limits;
    this.timeouts = timeouts;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    const { headMs, idleMs, writeStallMs } = timeouts;
    this.#connection = new Http2Connection(socket, this, { clock, http: limits, headMs, idleMs, writeStallMs });
  }

  get openStreams(): number {
    return this.#connection.openStreams;
  }

  drain(): void {
    if (this.#isDraining || this.isClosed) return;
    this.#isDraining = true;
    if (this.#connection.openStreams === 0) return this.#connection.end(errorCode.noError);
    this.#connection.announceEnd(streamIdMax);
    this.#announced = this.#options.clock.schedule(announceMs, () => this.#connection.refuseMore());
  }

  destroy(): void {
    this.#connection.destroy(new WireError('exchange_aborted', 'the connection was given up'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
    await this.closed;
  }

  // For the connection.

  opened(stream: Http2Stream, block: DecodedBlock, isEnd: boolean): void {
    let request: Http2RequestHead;
    try {
      request = requestHeadOf(block, isEnd, this.limits);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#refuse(stream, error);
      return;
    }
    const exchange = new Http2ServerExchange(stream, this, this.#context, request);
    runHandler(this.#handler, exchange, this.#onFault);
  }

  released(): void {
    if (this.#isDraining && this.#connection.openStreams === 0) this.#connection.end(errorCode.noError);
  }

  becameIdle(): void {
    this.#connection.end(errorCode.noError, 'idle');
  }

  gone(): void {
    this.isClosed = true;
    this.#announced?.cancel();
    this.#resolveClosed();
    this.#options.onClose?.();
  }

  settled(): void {}

  /** A client that goes away ends its streams, and its side of the connection. */
  goingAway(): void {}

  // For exchanges.

  now(): number {
    return this.#connection.now();
  }

  monotonic(): number {
    return this.#options.clock.monotonic();
  }

  setDeadline(stream: Http2Stream, delayMs: number): void {
    this.#connection.setDeadline(stream, delayMs);
  }

  fault(exchange: ServerExchange<unknown>, error: unknown): void {
    this.#options.onHandlerError?.(error, this.#context);
    endFaulted(exchange, error);
  }

  readonly #onFault = (exchange: ServerExchange<Context>, error: unknown): void => this.fault(exchange, error);

  /** The head broke a rule or a limit. It is answered, and malformed ones are a stream error all the same (RFC 9113 8.1.1). */
  #refuse(stream: Http2Stream, error: WireError): void {
    this.#connection.spend();
    const answer = this.#options.onRefused?.(error, this.#context) ?? {
      status: error.status,
      body: `${error.message}\n`,
    };
    const body = Buffer.from(answer.body ?? '');
    const lines = `:status: ${answer.status}\r\n${linesOf(answer)}content-length: ${body.length}\r\n`;
    stream.headers(lines, body.length === 0);
    stream.write(body);
    stream.end('');
    stream.refuse(error.status === 400 ? errorCode.protocolError : errorCode.noError);
  }
}
