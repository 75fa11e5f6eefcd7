import type { Duplex } from 'node:stream';
import type { OutgoingRequest, OutgoingResponse, RequestHead, ResponseHead } from './message.ts';
import type { WireError } from './wire-error.ts';

/** How an exchange ended, for logs and metrics. */
export interface ExchangeOutcome {
  /** The status sent; 0 when none was. */
  readonly status: number;
  readonly requestBodyBytes: number;
  readonly responseBodyBytes: number;
  /** From the end of the request head to the end of the exchange. */
  readonly durationMs: number;
  /** Undefined when the response was sent to its end. */
  readonly error: WireError | undefined;
}

/** Hears once how an exchange ended, however it ends. An object, since one is there anyway for each exchange: a closure would be one more. */
export interface ExchangeEndListener {
  onEnd(outcome: ExchangeOutcome): void;
}

/** Hears a server exchange. Bytes given to it are valid during the call: who keeps them keeps a copy. */
export interface ServerExchangeListener {
  /** A piece of the request body. False asks for silence until `resumeBody()`. */
  onRequestData(bytes: Buffer): boolean;
  /** The request body is complete; `trailers` are clean field lines, or empty. */
  onRequestEnd(trailers: string): void;
  /** A `write` answered false before; there is room again. */
  onWritable(): void;
  /** The client is gone, or its body cannot be read to its end. Unless `responded`, a `message_*` error may still be answered. */
  onAborted(error: WireError): void;
}

/**
 * One request and its response, seen from the server. Engines present HTTP/1.1 and HTTP/2 alike. The order of calls is: any
 * `inform`, one `respond`, any `write`, one `end`; or `abort` at any time; or `acceptTunnel` alone. After the end all of
 * them do nothing.
 */
export interface ServerExchange<Context> {
  /** What the consumer gave for the connection: a verified peer, a listener's name. */
  readonly context: Context;
  readonly request: RequestHead;
  /** Clock.monotonic() at the end of the request head. */
  readonly startedAt: number;
  /** A final response head was given. */
  readonly responded: boolean;
  readonly ended: boolean;
  endListener: ExchangeEndListener | undefined;

  listen(listener: ServerExchangeListener): void;
  /**
   * Starts the flow of the body to the listener, which also hears the end of an empty one. Sends 100 Continue when the client
   * waits for it, unless `relayContinue`: then the consumer passes on the upstream's.
   */
  readBody(options?: { readonly relayContinue?: boolean }): void;
  resumeBody(): void;

  /** An interim response: 100, 102-199. */
  inform(status: number, fields: string): void;
  respond(response: OutgoingResponse): void;
  /** False: no room, wait for `onWritable`. The bytes are taken either way, and the caller's again after the call. */
  write(bytes: Buffer): boolean;
  end(trailers?: string): void;
  /** Cuts the exchange off so that the client sees a broken message, never a short one. */
  abort(error: WireError): void;
  /**
   * Says that nobody has looked at the request, so that its sender may give it to somebody else whatever it is (RFC 9113 8.7); HTTP/1.1 cannot say so.
   * Nothing may have been answered.
   */
  refuse?(error: WireError): void;

  /**
   * Answers a CONNECT with 200, an upgrade with 101 (HTTP/2: 200), and gives up the connection: what follows on it is the consumer's. HTTP/1.1: the
   * socket itself.
   */
  acceptTunnel(fields?: string): Duplex;
}

export type ExchangeHandler<Context> = (exchange: ServerExchange<Context>) => void | Promise<void>;

/**
 * Hears a client exchange. Exactly one of `onResponseEnd` and `onFailed` comes last. Bytes given to it are valid during the call: who keeps them
 * keeps a copy.
 */
export interface ClientExchangeListener {
  /** A connection is there and the head is on its way; the body may follow now. Perhaps before `request` returns. */
  onRequestReady(exchange: ClientExchange): void;
  /** A `write` answered false before; there is room again. */
  onRequestWritable(): void;
  onInformed(head: ResponseHead): void;
  /** In place of the response, for a CONNECT or an upgrade that was accepted: the exchange is over, the stream is the listener's. */
  onTunnel?(socket: Duplex, head: ResponseHead): void;
  onResponse(head: ResponseHead): void;
  /** False asks for silence until `resume()`. */
  onResponseData(bytes: Buffer): boolean;
  onResponseEnd(trailers: string): void;
  onFailed(error: WireError): void;
}

/** As ALPN names them. */
export type Protocol = 'http/1.1' | 'h2';

/** One request and its response, seen from the client. */
export interface ClientExchange {
  /** Only after `onRequestReady`. False: no room, wait for `onRequestWritable`. The bytes are the caller's again after the call. */
  write(bytes: Buffer): boolean;
  end(trailers?: string): void;
  /** The response may flow again. */
  resume(): void;
  /** Nobody wants the response any more: the listener hears nothing further. */
  abort(): void;
}

/** Where a request goes. */
export interface Upstream {
  /** Connections are shared between requests with the same key: it must name address, expected peer and own identity. */
  readonly key: string;
  /** What it speaks; `negotiated`: what ALPN chose on the connection that came. Default: HTTP/1.1. */
  readonly protocol?: Protocol | 'negotiated';
  /** Opens a connection, ready for bytes (handshake done, peer verified). Rejections become 503 `upstream_unreachable`. */
  connect(signal: AbortSignal): Promise<Duplex>;
  /** For a connection, where the pool's time is not right. Milliseconds. */
  readonly connectMs?: number;
  /** Lower than the pool's `idleMs` where the upstream is known to close early. */
  readonly idleMs?: number;
}

/** What sends requests. */
export interface Client {
  request(upstream: Upstream, request: OutgoingRequest, listener: ClientExchangeListener): ClientExchange;
}
