import type { Duplex } from 'node:stream';
import type { ExchangeEndListener, ServerExchange, ServerExchangeListener } from '../exchange.ts';
import { isGrpc } from '../grpc.ts';
import type { HttpLimits, HttpTimeouts } from '../limits.ts';
import type { OutgoingResponse } from '../message.ts';
import { respond } from '../respond.ts';
import { ruleBroken, WireError } from '../wire-error.ts';
import type { DecodedBlock } from './decoded-block.ts';
import { trailersOf } from './http2-fields.ts';
import { errorCode } from './protocol.ts';
import type { Http2RequestHead } from './request-head.ts';
import type { Http2Stream, StreamListener } from './stream.ts';
import { StreamTunnel } from './stream-tunnel.ts';

/** What an exchange needs of its connection. */
export interface Http2ExchangeHost {
  readonly limits: HttpLimits;
  readonly timeouts: HttpTimeouts;
  monotonic(): number;
  /** The same, when the bytes came that are being read. */
  now(): number;
  setDeadline(stream: Http2Stream, delayMs: number): void;
  /** A listener or `endListener` threw: a fault of ours. */
  fault(exchange: ServerExchange<unknown>, error: unknown): void;
}

/** A request on a stream, and its response. */
export class Http2ServerExchange<Context> implements ServerExchange<Context>, StreamListener {
  readonly context: Context;
  readonly request: Http2RequestHead;
  readonly startedAt: number;
  endListener: ExchangeEndListener | undefined;
  responded = false;
  ended = false;
  readonly #stream: Http2Stream;
  readonly #host: Http2ExchangeHost;
  #listener: ServerExchangeListener | undefined;
  #wantsBody = false;
  #isPaused = false;
  #isBroken = false;
  #awaitsContinue: boolean;
  readonly #mayBeSilent: boolean;
  /** Pieces of the body that nobody wanted yet. */
  #held: Buffer[] = [];
  /** The body came to its end, with these trailers. */
  #trailers: string | undefined;
  #isEndTold = false;
  #requestBodyBytes = 0;
  #responseBodyBytes = 0;
  #responseBytesLeft = Number.POSITIVE_INFINITY;
  #hasNoBody = false;
  #status = 0;

  constructor(stream: Http2Stream, host: Http2ExchangeHost, context: Context, request: Http2RequestHead) {
    this.#stream = stream;
    this.#host = host;
    this.context = context;
    this.request = request;
    this.startedAt = host.now();
    this.#awaitsContinue = request.expectsContinue;
    this.#mayBeSilent = isGrpc(request);
    if (stream.isRemoteEnded) this.#trailers = '';
    stream.listener = this;
  }

  listen(listener: ServerExchangeListener): void {
    this.#listener = listener;
  }

  readBody(options?: { readonly relayContinue?: boolean }): void {
    if (this.ended || this.#wantsBody) return;
    if (this.#awaitsContinue && options?.relayContinue !== true && !this.responded) this.inform(100, '');
    this.#wantsBody = true;
    this.#advance();
  }

  resumeBody(): void {
    if (!this.#isPaused || this.ended) return;
    this.#isPaused = false;
    this.#advance();
  }

  inform(status: number, fields: string): void {
    if (this.responded || this.ended) return;
    if (status < 100 || status > 199 || status === 101) throw new TypeError(`${status} is not an interim status`);
    if (status === 100) this.#awaitsContinue = false;
    this.#stream.headers(`:status: ${status}\r\n${fields}`, false);
  }

  respond(response: OutgoingResponse): void {
    if (this.responded || this.ended) return;
    const { status, fields, framing, contentLength } = response;
    if (status < 200 || status > 599) throw new TypeError(`${status} is not a final status`);
    this.responded = true;
    this.#status = status;
    this.#hasNoBody = this.request.method === 'HEAD' || status === 204 || status === 304;
    const isLength = framing === 'length';
    if (isLength && !this.#hasNoBody) this.#responseBytesLeft = contentLength;
    const isEnd = this.#hasNoBody || framing === 'none' || (isLength && contentLength === 0);
    let lines = status === 200 ? `:status: 200\r\n${fields}` : `:status: ${status}\r\n${fields}`;
    if (isLength && status !== 204) lines += `content-length: ${contentLength}\r\n`;
    this.#stream.headers(lines, isEnd, isEnd && !this.#isBroken);
  }

  write(bytes: Buffer): boolean {
    if (!this.responded || this.ended || this.#hasNoBody) return true;
    this.#responseBytesLeft -= bytes.length;
    if (this.#responseBytesLeft < 0) throw new TypeError('a body is longer than its Content-Length');
    this.#responseBodyBytes += bytes.length;
    return this.#stream.write(bytes);
  }

  end(trailers = ''): void {
    if (!this.responded || this.ended) return;
    if (Number.isFinite(this.#responseBytesLeft) && this.#responseBytesLeft !== 0) {
      throw new TypeError('a body is shorter than its Content-Length');
    }
    this.finish(undefined);
    this.#stream.end(trailers, !this.#isBroken);
  }

  abort(error: WireError): void {
    if (this.ended) return;
    this.finish(error);
    this.#stream.reset(errorCode.internalError);
  }

  refuse(error: WireError): void {
    if (this.ended) return;
    if (this.responded) return this.abort(error);
    this.finish(error);
    this.#stream.reset(errorCode.refusedStream);
  }

  acceptTunnel(fields = ''): Duplex {
    const { method, upgrade } = this.request;
    if ((method !== 'CONNECT' && upgrade === undefined) || this.responded || this.ended) {
      throw new TypeError('only a CONNECT or an upgrade that was not answered becomes a tunnel');
    }
    this.responded = true;
    this.#status = 200;
    this.#stream.headers(`:status: 200\r\n${fields}`, false);
    this.finish(undefined);
    return new StreamTunnel(this.#stream, this.#held, this.#trailers !== undefined);
  }

  // From here on: called by the stream.

  onData(bytes: Buffer): boolean {
    if (this.ended || this.#isBroken) return true;
    this.#awaitsContinue = false;
    if (!this.#mayCome(bytes.length)) return true;
    if (this.#wantsBody && !this.#isPaused && this.#held.length === 0) {
      this.#deliver(bytes);
      this.#awaitMore();
      return !this.#isPaused;
    }
    this.#held.push(Buffer.from(bytes));
    return false;
  }

  onRemoteEnd(): void {
    this.#bodyEnded('');
  }

  onBlock(block: DecodedBlock, isEnd: boolean): void {
    if (this.ended || this.#isBroken) return;
    try {
      if (block.problem !== undefined) throw block.problem;
      if (!isEnd) throw ruleBroken('trailer', 'a second head stands where trailers belong');
      this.#bodyEnded(trailersOf(block, this.#host.limits.lineBytesMax));
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#clientBroke(error.status === 431 ? error : ruleBroken('trailer', error.message));
    }
  }

  onReset(): void {
    if (this.ended) return;
    const error = new WireError('exchange_aborted', 'the client gave the request up before the end of the response');
    this.finish(error);
    this.#tellAborted(error);
  }

  onWritable(): void {
    if (this.ended) return;
    try {
      this.#listener?.onWritable();
    } catch (fault) {
      this.#host.fault(this, fault);
    }
  }

  onExpired(): void {
    if (!this.ended) this.#clientBroke(ruleBroken('body_timeout', 'the request body did not come in time'));
  }

  finish(error: WireError | undefined): void {
    if (this.ended) return;
    this.ended = true;
    this.#held = [];
    this.#stream.deadlineAt = Number.POSITIVE_INFINITY;
    try {
      this.endListener?.onEnd({
        status: this.#status,
        requestBodyBytes: this.#requestBodyBytes,
        responseBodyBytes: this.#responseBodyBytes,
        durationMs: this.#host.monotonic() - this.startedAt,
        error,
      });
    } catch (fault) {
      this.#host.fault(this, fault);
    }
  }

  /** Gives on what was held, as far as it is wanted, and then the end. */
  #advance(): void {
    while (this.#held.length > 0 && !this.#isPaused && !this.ended) this.#deliver(this.#held.shift()!);
    if (this.#isPaused || this.ended) return;
    this.#stream.resume();
    if (this.#trailers !== undefined) this.#tellEnd(this.#trailers);
    else this.#awaitMore();
  }

  #deliver(bytes: Buffer): void {
    try {
      if (this.#listener?.onRequestData(bytes) === false && !this.ended) this.#isPaused = true;
    } catch (fault) {
      this.#host.fault(this, fault);
    }
  }

  /** A gRPC stream may be silent for as long as its client likes; whether that lives is asked by pings. */
  #awaitMore(): void {
    if (this.#isPaused || this.ended || this.#mayBeSilent) this.#stream.deadlineAt = Number.POSITIVE_INFINITY;
    else this.#host.setDeadline(this.#stream, this.#host.timeouts.bodyIdleMs);
  }

  /** Counts bytes of the body against what was stated and what is allowed. */
  #mayCome(count: number): boolean {
    const { contentLength } = this.request;
    this.#requestBodyBytes += count;
    const total = this.#requestBodyBytes;
    const { bodyBytesMax } = this.#host.limits;
    if (contentLength >= 0 && total > contentLength) {
      this.#clientBroke(ruleBroken('content_length', 'the body is longer than its Content-Length'));
    } else if (total > bodyBytesMax) {
      this.#clientBroke(ruleBroken('body_size', `the body is longer than ${bodyBytesMax} bytes`));
    } else return true;
    return false;
  }

  #bodyEnded(trailers: string): void {
    if (this.ended || this.#isBroken) return;
    const { contentLength } = this.request;
    if (contentLength >= 0 && this.#requestBodyBytes !== contentLength) {
      return this.#clientBroke(ruleBroken('content_length', 'the body is shorter than its Content-Length'));
    }
    this.#trailers = trailers;
    this.#stream.deadlineAt = Number.POSITIVE_INFINITY;
    if (this.#wantsBody && !this.#isPaused && this.#held.length === 0) this.#tellEnd(trailers);
  }

  #tellEnd(trailers: string): void {
    if (this.#isEndTold) return;
    this.#isEndTold = true;
    try {
      this.#listener?.onRequestEnd(trailers);
    } catch (fault) {
      this.#host.fault(this, fault);
    }
  }

  /** The client broke a rule or a limit. Whoever serves the exchange may answer; else the engine does. */
  #clientBroke(error: WireError): void {
    this.#isBroken = true;
    this.#held = [];
    this.#tellAborted(error);
    if (this.ended) return this.#refuseRest(error);
    if (this.responded) return this.abort(error);
    respond(this, { status: error.status, body: `${error.message}\n` });
    this.#refuseRest(error);
  }

  /** A malformed request is a stream error, even where it was answered (RFC 9113 8.1.1). */
  #refuseRest(error: WireError): void {
    this.#stream.refuse(error.status === 400 ? errorCode.protocolError : errorCode.noError);
  }

  #tellAborted(error: WireError): void {
    try {
      this.#listener?.onAborted(error);
    } catch (fault) {
      this.#host.fault(this, fault);
    }
  }
}
