import type { Duplex } from 'node:stream';
import type { ExchangeEndListener, ServerExchange, ServerExchangeListener } from '../exchange.ts';
import type { OutgoingResponse } from '../message.ts';
import { statusText } from '../status-text.ts';
import type { WireError } from '../wire-error.ts';
import type { MessageWriter } from './message-writer.ts';
import { responseHeadText, tunnelHead } from './outgoing-head.ts';
import type { Http1RequestHead } from './request-head.ts';

/** What an exchange needs of its connection. */
export interface ExchangeHost {
  readonly writer: MessageWriter;
  readonly closesAfterResponse: boolean;
  monotonic(): number;
  /** More of the request body is wanted. */
  advance(): void;
  /** Bytes wait in the socket: the peer must take them in time. */
  watchWrites(): void;
  /** `now`: Clock.monotonic() */
  responseEnded(saidClose: boolean, now: number): void;
  /** A listener or `endListener` threw: a fault of ours. */
  fault(error: unknown): void;
  destroy(): void;
  giveUpSocket(): Duplex;
}

export class Http1ServerExchange<Context> implements ServerExchange<Context> {
  readonly context: Context;
  readonly request: Http1RequestHead;
  readonly startedAt: number;
  endListener: ExchangeEndListener | undefined;
  responded = false;
  ended = false;
  /** The listener asked for the body. */
  wantsBody = false;
  isBodyPaused = false;
  /** 100 Continue has not been sent and no byte of the body has come. */
  awaitsContinue: boolean;
  requestBodyBytes = 0;
  isBodyEndTold = false;
  #hasBegun = false;
  #saidClose = false;
  #status = 0;
  #listener: ServerExchangeListener | undefined;
  readonly #host: ExchangeHost;

  constructor(host: ExchangeHost, context: Context, request: Http1RequestHead) {
    this.#host = host;
    this.context = context;
    this.request = request;
    this.startedAt = host.monotonic();
    this.awaitsContinue = request.expectsContinue;
  }

  listen(listener: ServerExchangeListener): void {
    this.#listener = listener;
  }

  readBody(options?: { readonly relayContinue?: boolean }): void {
    if (this.ended || this.wantsBody) return;
    if (this.awaitsContinue && options?.relayContinue !== true && !this.responded) this.inform(100, '');
    this.wantsBody = true;
    this.#host.advance();
  }

  resumeBody(): void {
    if (!this.isBodyPaused || this.ended) return;
    this.isBodyPaused = false;
    this.#host.advance();
  }

  inform(status: number, fields: string): void {
    if (this.responded || this.ended) return;
    if (status < 100 || status > 199 || status === 101) throw new TypeError(`${status} is not an interim status`);
    if (status === 100) this.awaitsContinue = false;
    this.#host.writer.writeHead(`HTTP/1.1 ${status} ${statusText(status)}\r\n${fields}\r\n`);
    if (status === 100) this.#host.advance();
  }

  respond(response: OutgoingResponse): void {
    if (this.responded || this.ended) return;
    const { status, framing, contentLength } = response;
    if (status < 200 || status > 599) throw new TypeError(`${status} is not a final status`);
    this.responded = true;
    this.#status = status;
    const hasNoBody = this.request.method === 'HEAD' || status === 204 || status === 304;
    this.#saidClose = this.#host.closesAfterResponse;
    const head = responseHeadText(response, hasNoBody, this.#saidClose);
    this.#hasBegun = true;
    this.#host.writer.begin(head, hasNoBody ? 'none' : framing, contentLength);
  }

  write(bytes: Buffer): boolean {
    if (!this.responded || this.ended) return true;
    if (this.#host.writer.write(bytes)) return true;
    this.#host.watchWrites();
    return false;
  }

  end(trailers = ''): void {
    if (!this.responded || this.ended) return;
    this.#host.writer.end(trailers);
    this.#host.watchWrites();
    const now = this.#host.monotonic();
    this.finish(undefined, now);
    this.#host.responseEnded(this.#saidClose, now);
  }

  abort(error: WireError): void {
    if (this.ended) return;
    this.finish(error);
    this.#host.destroy();
  }

  acceptTunnel(fields = ''): Duplex {
    const { method, upgrade } = this.request;
    if ((method !== 'CONNECT' && upgrade === undefined) || this.responded || this.ended) {
      throw new TypeError('only a CONNECT or an upgrade that was not answered becomes a tunnel');
    }
    this.responded = true;
    this.#status = upgrade === undefined ? 200 : 101;
    this.#host.writer.writeHead(`${tunnelHead(this.request)}${fields}\r\n`);
    this.finish(undefined);
    return this.#host.giveUpSocket();
  }

  // From here on: called by the connection.

  bodyData(bytes: Buffer): void {
    this.awaitsContinue = false;
    this.requestBodyBytes += bytes.length;
    if (this.#listener?.onRequestData(bytes) === false && !this.ended) this.isBodyPaused = true;
  }

  bodyEnd(trailers: string): void {
    if (this.isBodyEndTold) return;
    this.isBodyEndTold = true;
    this.#listener?.onRequestEnd(trailers);
  }

  writable(): void {
    try {
      this.#listener?.onWritable();
    } catch (error) {
      this.#host.fault(error);
    }
  }

  /** The client failed. The listener may still answer. */
  clientFailed(error: WireError): void {
    try {
      this.#listener?.onAborted(error);
    } catch (fault) {
      this.#host.fault(fault);
    }
  }

  finish(error: WireError | undefined, now: number = this.#host.monotonic()): void {
    if (this.ended) return;
    this.ended = true;
    try {
      this.endListener?.onEnd({
        status: this.#status,
        requestBodyBytes: this.requestBodyBytes,
        responseBodyBytes: this.#hasBegun ? this.#host.writer.bodyBytes : 0,
        durationMs: now - this.startedAt,
        error,
      });
    } catch (fault) {
      this.#host.fault(fault);
    }
  }
}
