import type { Duplex } from 'node:stream';
import type { ExchangeOutcome, ServerExchange, ServerExchangeListener } from '../exchange.ts';
import type { OutgoingResponse } from '../message.ts';
import { statusText } from '../status-text.ts';
import type { WireError } from '../wire-error.ts';
import type { MessageWriter } from './message-writer.ts';
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
  responseEnded(): void;
  destroy(error: WireError): void;
  giveUpSocket(): Duplex;
}

export class Http1ServerExchange<Context> implements ServerExchange<Context> {
  readonly context: Context;
  readonly request: Http1RequestHead;
  readonly startedAt: number;
  onEnd: ((outcome: ExchangeOutcome) => void) | undefined;
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
    this.#host.writer.writeInterim(`HTTP/1.1 ${status} ${statusText(status)}\r\n${fields}\r\n`);
  }

  respond(response: OutgoingResponse): void {
    if (this.responded || this.ended) return;
    const { status, framing, contentLength } = response;
    if (status < 200 || status > 599) throw new TypeError(`${status} is not a final status`);
    this.responded = true;
    this.#status = status;
    let head = `HTTP/1.1 ${status} ${response.reason ?? statusText(status)}\r\n${response.fields}`;
    const hasNoBody = this.request.method === 'HEAD' || status === 204 || status === 304;
    if (status !== 204) head += framingLine(framing, contentLength, hasNoBody);
    if (this.#host.closesAfterResponse) head += 'connection: close\r\n';
    this.#hasBegun = true;
    this.#host.writer.begin(`${head}\r\n`, hasNoBody ? 'none' : framing, contentLength);
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
    this.finish(undefined);
    this.#host.responseEnded();
  }

  abort(error: WireError): void {
    if (this.ended) return;
    this.finish(error);
    this.#host.destroy(error);
  }

  acceptTunnel(fields = ''): Duplex {
    if (this.request.method !== 'CONNECT' || this.responded || this.ended) {
      throw new TypeError('only a CONNECT that was not answered becomes a tunnel');
    }
    this.responded = true;
    this.#status = 200;
    this.#host.writer.writeInterim(`HTTP/1.1 200 Connection Established\r\n${fields}\r\n`);
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
    this.#listener?.onWritable();
  }

  /** The client failed. The listener may still answer. */
  clientFailed(error: WireError): void {
    this.#listener?.onAborted(error);
  }

  finish(error: WireError | undefined): void {
    if (this.ended) return;
    this.ended = true;
    this.onEnd?.({
      status: this.#status,
      requestBodyBytes: this.requestBodyBytes,
      responseBodyBytes: this.#hasBegun ? this.#host.writer.bodyBytes : 0,
      durationMs: this.#host.monotonic() - this.startedAt,
      error,
    });
  }
}

function framingLine(framing: OutgoingResponse['framing'], contentLength: number, hasNoBody: boolean): string {
  if (framing === 'length') return `content-length: ${contentLength}\r\n`;
  if (hasNoBody) return '';
  return framing === 'chunked' ? 'transfer-encoding: chunked\r\n' : 'content-length: 0\r\n';
}
