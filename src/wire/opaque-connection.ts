import type { Duplex } from 'node:stream';
import type { ExchangeEndListener, ExchangeHandler, ServerExchange, ServerExchangeListener } from './exchange.ts';
import type { FieldSet } from './field-names.ts';
import type { OutgoingResponse, RequestHead } from './message.ts';
import { endFaulted, runHandler } from './run-handler.ts';
import type { ResolvedServeOptions, ServerConnection } from './server-connection.ts';
import { WireError } from './wire-error.ts';

/**
 * A connection whose bytes mean nothing to us: one CONNECT without a head. Who serves it opens a tunnel, or answers with a status, which a client
 * can only see as the end of its connection.
 */
export class OpaqueConnection<Context> implements ServerConnection, ServerExchange<Context> {
  readonly context: Context;
  readonly request: RequestHead = opaqueHead;
  readonly startedAt: number;
  readonly closed: Promise<void>;
  responded = false;
  ended = false;
  endListener: ExchangeEndListener | undefined;
  readonly #socket: Duplex;
  readonly #options: ResolvedServeOptions<Context>;
  #listener: ServerExchangeListener | undefined;
  #status = 0;

  constructor(
    socket: Duplex,
    context: Context,
    handler: ExchangeHandler<Context>,
    options: ResolvedServeOptions<Context>,
  ) {
    this.#socket = socket;
    this.#options = options;
    this.context = context;
    this.startedAt = options.clock.monotonic();
    this.closed = new Promise((resolve) => {
      const onClose = () => {
        this.#clientGone();
        resolve();
        options.onClose?.();
      };
      if (socket.destroyed) process.nextTick(onClose);
      else socket.once('close', onClose);
    });
    socket.on('error', () => {});
    runHandler(handler, this, (exchange, error) => {
      options.onHandlerError?.(error, context);
      endFaulted(exchange, error);
    });
  }

  get isClosed(): boolean {
    return this.#socket.destroyed;
  }

  /** What is inside cannot be told to end: it has until it is destroyed. */
  drain(): void {}

  destroy(): void {
    this.#socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
    await this.closed;
  }

  listen(listener: ServerExchangeListener): void {
    this.#listener = listener;
  }

  readBody(): void {}

  resumeBody(): void {}

  inform(): void {}

  respond({ status }: OutgoingResponse): void {
    if (this.responded || this.ended) return;
    this.responded = true;
    this.#status = status;
  }

  write(): boolean {
    return true;
  }

  end(): void {
    if (!this.responded || this.ended) return;
    this.#finish(undefined);
    this.#socket.destroy();
  }

  abort(error: WireError): void {
    if (this.ended) return;
    this.#finish(error);
    this.#socket.destroy();
  }

  acceptTunnel(): Duplex {
    if (this.responded || this.ended) throw new TypeError('it was answered already');
    this.responded = true;
    this.#status = 200;
    this.#finish(undefined);
    return this.#socket;
  }

  #clientGone(): void {
    if (this.ended) return;
    const error = new WireError('exchange_aborted', 'the client closed its connection before it was let through');
    this.#finish(error);
    this.#listener?.onAborted(error);
  }

  #finish(error: WireError | undefined): void {
    this.ended = true;
    const durationMs = this.#options.clock.monotonic() - this.startedAt;
    this.endListener?.onEnd({ status: this.#status, requestBodyBytes: 0, responseBodyBytes: 0, durationMs, error });
  }
}

const opaqueHead: RequestHead = {
  method: 'CONNECT',
  target: '',
  form: 'authority',
  path: '',
  authority: '',
  framing: 'chunked',
  contentLength: -1,
  expectsContinue: false,
  acceptsTrailers: false,
  upgrade: undefined,
  field: () => undefined,
  fieldCount: () => 0,
  fieldById: () => undefined,
  countById: () => 0,
  find: () => undefined,
  entries: () => [][Symbol.iterator](),
  linesExcept: (_: FieldSet) => '',
};
