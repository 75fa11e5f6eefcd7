import { idempotentMethods } from '#runtime/idempotent-methods.ts';
import type { ClientExchange, ClientExchangeListener } from '../exchange.ts';
import type { OutgoingRequest } from '../message.ts';
import type { ClientOptions } from '../upstream-group.ts';
import { asUpstreamFault, ruleBroken, WireError } from '../wire-error.ts';
import type { Http2Connection } from './connection.ts';
import type { DecodedBlock } from './decoded-block.ts';
import { trailersOf } from './http2-fields.ts';
import { errorCode, errorCodeName } from './protocol.ts';
import { requestLines } from './request-lines.ts';
import { type Http2ResponseHead, responseHeadOf } from './response-head.ts';
import type { Http2Stream, StreamListener } from './stream.ts';
import { StreamTunnel } from './stream-tunnel.ts';

/** The group's side of an exchange. */
export interface ExchangeOwner {
  /** The upstream never looked at it: send it again. */
  replay(exchange: Http2ClientExchange): void;
  /** It was given up before it had a stream. */
  abandoned(exchange: Http2ClientExchange): void;
}

/** How often a request is sent again that the upstream says it has not looked at, and one whose connection was lost. */
const refusedReplaysMax = 2;
const lostReplaysMax = 1;

/** One request on its way: waiting, or on a stream. */
export class Http2ClientExchange implements ClientExchange, StreamListener {
  readonly #request: OutgoingRequest;
  readonly #listener: ClientExchangeListener;
  readonly #owner: ExchangeOwner;
  readonly #options: ClientOptions;
  #connection: Http2Connection | undefined;
  #stream: Http2Stream | undefined;
  /** Body that came while there was no stream, between two attempts. */
  #held: Buffer[] = [];
  #trailers: string | undefined;
  #isReadyTold = false;
  #hasSentBody = false;
  #replays = 0;
  #head: Http2ResponseHead | undefined;
  #interimCount = 0;
  #bodyBytes = 0;
  #isOver = false;

  constructor(
    request: OutgoingRequest,
    listener: ClientExchangeListener,
    owner: ExchangeOwner,
    options: ClientOptions,
  ) {
    this.#request = request;
    this.#listener = listener;
    this.#owner = owner;
    this.#options = options;
  }

  get isUpgrade(): boolean {
    return this.#request.upgrade !== undefined;
  }

  get #asksTunnel(): boolean {
    return this.isUpgrade || this.#request.method === 'CONNECT';
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Goes out on `stream`, which is new. */
  start(connection: Http2Connection, stream: Http2Stream, scheme: 'https' | 'http'): void {
    this.#connection = connection;
    this.#stream = stream;
    stream.listener = this;
    const { framing, contentLength } = this.#request;
    const hasBody = this.isUpgrade || framing === 'chunked' || (framing === 'length' && contentLength > 0);
    stream.headers(requestLines(this.#request, scheme), !hasBody);
    if (!hasBody) this.#trailers = '';
    if (this.#held.length > 0) this.#sendHeld(stream);
    if (this.#trailers !== undefined) this.#sent(this.#trailers);
    else if (this.#asksTunnel) connection.setDeadline(stream, this.#options.pool.connectMs);
    if (this.#isReadyTold) return;
    this.#isReadyTold = true;
    this.#listener.onRequestReady(this);
  }

  write(bytes: Buffer): boolean {
    if (this.#isOver || this.#trailers !== undefined || bytes.length === 0) return true;
    this.#hasSentBody = true;
    if (this.#stream !== undefined) return this.#stream.write(bytes);
    this.#held.push(Buffer.from(bytes));
    return false;
  }

  end(trailers = ''): void {
    if (this.#isOver || this.#trailers !== undefined) return;
    this.#trailers = trailers;
    if (this.#stream !== undefined) this.#sent(trailers);
  }

  resume(): void {
    this.#stream?.resume();
    if (this.#head !== undefined) this.#awaitMore();
  }

  abort(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#stream === undefined) this.#owner.abandoned(this);
    else this.#stream.reset(errorCode.cancel);
  }

  fail(error: WireError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#held = [];
    this.#listener.onFailed(error);
  }

  // From here on: called by the stream.

  onBlock(block: DecodedBlock, isEnd: boolean): void {
    if (this.#isOver) return;
    try {
      if (this.#head !== undefined) this.#readTrailers(block, isEnd);
      else this.#readHead(responseHeadOf(block, isEnd, this.#options.limits, this.#request.method), isEnd);
    } catch (cause) {
      this.#broke(cause);
    }
  }

  onData(bytes: Buffer): boolean {
    if (this.#isOver) return true;
    try {
      if (this.#head === undefined) throw ruleBroken('status_line', 'a body stands before the head');
      this.#bodyBytes += bytes.length;
      const { framing, contentLength } = this.#head;
      if (framing === 'none' || (contentLength >= 0 && this.#bodyBytes > contentLength)) {
        throw ruleBroken('content_length', 'the body is longer than its Content-Length');
      }
      const isWanted = this.#listener.onResponseData(bytes);
      if (isWanted) this.#awaitMore();
      else if (this.#stream !== undefined) this.#stream.deadlineAt = Number.POSITIVE_INFINITY;
      return isWanted;
    } catch (cause) {
      this.#broke(cause);
      return true;
    }
  }

  onRemoteEnd(): void {
    if (this.#isOver) return;
    try {
      this.#complete('');
    } catch (cause) {
      this.#broke(cause);
    }
  }

  onReset(code: number | undefined): void {
    if (this.#isOver) return;
    this.#stream = undefined;
    if (this.#mayReplay(code)) {
      this.#replays++;
      this.#owner.replay(this);
      return;
    }
    const why = code === undefined ? 'the connection was lost' : `it reset the stream with ${errorCodeName(code)}`;
    const isRefused = code === errorCode.refusedStream;
    const error = isRefused ? 'upstream_overloaded' : 'upstream_failed';
    this.fail(new WireError(error, `the upstream did not answer to the end: ${why}`, { retryable: isRefused }));
  }

  onWritable(): void {
    if (!this.#isOver) this.#listener.onRequestWritable();
  }

  onExpired(): void {
    const what = this.#head === undefined ? 'the head of its response' : 'more of its response';
    this.#stream?.reset(errorCode.cancel);
    this.fail(new WireError('upstream_timeout', `the upstream did not send ${what} in time`));
  }

  #sendHeld(stream: Http2Stream): void {
    const held = this.#held;
    this.#held = [];
    for (const bytes of held) stream.write(bytes);
  }

  #sent(trailers: string): void {
    this.#stream?.end(trailers);
    if (this.#head === undefined && this.#stream !== undefined) {
      const { responseHeadMs = this.#options.pool.responseHeadMs } = this.#request;
      this.#connection?.setDeadline(this.#stream, responseHeadMs);
    }
  }

  #readHead(head: Http2ResponseHead, isEnd: boolean): void {
    if (head.status < 200) {
      if (isEnd) throw ruleBroken('status_line', 'an interim response ends the stream');
      if (++this.#interimCount > this.#options.limits.interimResponsesMax) {
        throw ruleBroken('interim_responses', 'too many interim responses');
      }
      this.#listener.onInformed(head);
      return;
    }
    if (this.#asksTunnel && head.status < 300) return this.#openTunnel(head, isEnd);
    this.#head = head;
    this.#awaitMore();
    this.#listener.onResponse(head);
    if (isEnd) this.#complete('');
  }

  #openTunnel(head: Http2ResponseHead, isEnd: boolean): void {
    const stream = this.#stream!;
    this.#isOver = true;
    stream.deadlineAt = Number.POSITIVE_INFINITY;
    const tunnel = new StreamTunnel(stream, [], isEnd);
    if (this.#listener.onTunnel === undefined) tunnel.destroy();
    else this.#listener.onTunnel(tunnel, head);
  }

  #readTrailers(block: DecodedBlock, isEnd: boolean): void {
    if (block.problem !== undefined) throw block.problem;
    if (!isEnd) throw ruleBroken('trailer', 'a second head stands where trailers belong');
    this.#complete(trailersOf(block, this.#options.limits.lineBytesMax));
  }

  #complete(trailers: string): void {
    if (this.#isOver) return;
    const head = this.#head;
    if (head === undefined) throw ruleBroken('status_line', 'the stream ended without a head');
    if (head.framing === 'length' && this.#bodyBytes !== head.contentLength) {
      throw ruleBroken('content_length', 'the body is shorter than its Content-Length');
    }
    this.#isOver = true;
    // The upstream has answered: what it did not want to read need not be sent.
    if (this.#stream?.isLocalEnded === false) this.#stream.reset(errorCode.noError);
    this.#listener.onResponseEnd(trailers);
  }

  #awaitMore(): void {
    const stream = this.#stream;
    const { responseIdleMs = this.#options.pool.responseIdleMs } = this.#request;
    if (stream !== undefined && !this.#isOver) this.#connection?.setDeadline(stream, responseIdleMs);
  }

  /**
   * What the upstream says it has not looked at may be sent again, whatever it is (RFC 9113 8.7); what it may have seen only if that changes
   * nothing. A body that is gone cannot.
   */
  #mayReplay(code: number | undefined): boolean {
    if (this.#hasSentBody || this.#head !== undefined || this.#interimCount > 0) return false;
    if (code === errorCode.refusedStream) return this.#replays < refusedReplaysMax;
    return code === undefined && this.#replays < lostReplaysMax && idempotentMethods.has(this.#request.method);
  }

  /** What the upstream breaks costs its own stream; so does what a listener throws, which is a fault of ours. */
  #broke(cause: unknown): void {
    this.#stream?.reset(cause instanceof WireError ? errorCode.protocolError : errorCode.internalError);
    if (cause instanceof WireError) this.fail(asUpstreamFault(cause));
    else this.fail(new WireError('exchange_aborted', 'passing on the response failed', { cause, status: 500 }));
  }
}
