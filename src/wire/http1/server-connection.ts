import type { Duplex } from 'node:stream';
import { Deadline } from '../deadline.ts';
import type { ExchangeHandler, ServerExchange } from '../exchange.ts';
import { respond } from '../respond.ts';
import { endFaulted, runHandler } from '../run-handler.ts';
import type { ResolvedServeOptions, ServerConnection } from '../server-connection.ts';
import { ruleBroken, WireError } from '../wire-error.ts';
import { WriteWatch } from '../write-watch.ts';
import { BodyDecoder } from './body-decoder.ts';
import { HeldBytes } from './held-bytes.ts';
import { LingeringClose } from './lingering-close.ts';
import { MessageWriter } from './message-writer.ts';
import { refusalText } from './outgoing-head.ts';
import { RequestHeadReader } from './request-head-reader.ts';
import { type ExchangeHost, Http1ServerExchange } from './server-exchange.ts';
import { hearSocket } from './socket-events.ts';

/**
 * `head`: between requests, or in a head · `exchange`: a request is being answered · `discard`: answered, its body is read away ·
 * `linger`: our side is closed, waiting for the peer to close · `given-up`: a tunnel, no longer ours · `closed`
 */
type State = 'head' | 'exchange' | 'discard' | 'linger' | 'given-up' | 'closed';

/** One accepted connection: requests in order, one at a time; what is pipelined waits, within bounds. */
export class Http1ServerConnection<Context> implements ServerConnection, ExchangeHost {
  readonly writer: MessageWriter;
  readonly closed: Promise<void>;
  readonly #socket: Duplex;
  readonly #context: Context;
  readonly #handler: ExchangeHandler<Context>;
  readonly #options: ResolvedServeOptions<Context>;
  readonly #stopHearing: (isGivenUp: boolean) => void;
  readonly #held = new HeldBytes();
  readonly #decoder: BodyDecoder;
  readonly #readDeadline: Deadline;
  readonly #writeWatch: WriteWatch;
  readonly #lingering: LingeringClose;
  readonly #heads: RequestHeadReader;
  #state: State = 'head';
  #exchange: Http1ServerExchange<Context> | undefined;
  #isAdvancing = false;
  #isInHead = false;
  #isBroken = false;
  #isDraining = false;
  #discardedBytes = 0;
  #resolveClosed: () => void = () => {};

  constructor(
    socket: Duplex,
    context: Context,
    handler: ExchangeHandler<Context>,
    options: ResolvedServeOptions<Context>,
  ) {
    this.#socket = socket;
    this.#context = context;
    this.#handler = handler;
    this.#options = options;
    this.#decoder = new BodyDecoder(options.limits);
    this.writer = new MessageWriter(socket);
    this.#heads = new RequestHeadReader(this.#held, options.limits);
    this.#readDeadline = new Deadline(options.clock, () => this.#readExpired());
    const { writeStallMs } = options.timeouts;
    this.#writeWatch = new WriteWatch(options.clock, socket, this.writer, writeStallMs, () => socket.destroy());
    const { lingerMs } = options.timeouts;
    this.#lingering = new LingeringClose(options.clock, socket, lingerMs, options.limits.drainBytesMax);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#readDeadline.set(options.timeouts.idleMs);
    this.#stopHearing = hearSocket(socket, this.#onData, this.#onEnd, this.#onDrain, this.#onError, this.#onClose);
  }

  get isClosed(): boolean {
    return this.#state === 'closed' || this.#state === 'given-up';
  }

  get closesAfterResponse(): boolean {
    if (this.#isDraining || this.#isBroken) return true;
    const exchange = this.#exchange;
    if (exchange === undefined || exchange.request.isClose) return true;
    // A client that was never told to go on may send its body or not; and a large one is not worth reading away.
    return (
      exchange.awaitsContinue ||
      (!exchange.wantsBody && exchange.request.contentLength > this.#options.limits.drainBytesMax)
    );
  }

  drain(): void {
    this.#isDraining = true;
    if (this.#state === 'head' && this.#held.length === 0) this.#linger();
  }

  destroy(): void {
    if (this.isClosed) return;
    this.#isBroken = true;
    this.#held.clear();
    this.#socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
    await this.closed;
  }

  monotonic(): number {
    return this.#options.clock.monotonic();
  }

  /** Consumes what is held as far as the state allows. Handlers and listeners call back into it while it runs. */
  advance(): void {
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    try {
      while (this.#step()) {}
    } catch (error) {
      if (error instanceof WireError) this.#fail(error);
      else this.fault(error);
    } finally {
      this.#isAdvancing = false;
    }
    this.#regulate();
  }

  watchWrites(): void {
    this.#writeWatch.check();
  }

  fault(error: unknown): void {
    this.#options.onHandlerError?.(error, this.#context);
    this.#isBroken = true;
    if (this.#exchange !== undefined) endFaulted(this.#exchange, error);
    else this.#socket.destroy();
  }

  responseEnded(saidClose: boolean, now: number): void {
    const mustClose = saidClose || this.closesAfterResponse;
    this.#exchange = undefined;
    if (mustClose) this.#linger();
    else if (this.#decoder.isDone) this.#nextRequest(now);
    else {
      this.#state = 'discard';
      this.#discardedBytes = 0;
      this.#readDeadline.set(this.#options.timeouts.lingerMs, now);
    }
    this.advance();
  }

  giveUpSocket(): Duplex {
    const socket = this.#socket;
    this.#state = 'given-up';
    this.#exchange = undefined;
    this.#release();
    this.#held.giveBackTo(socket);
    return socket;
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#state === 'linger') {
      this.#lingering.readOver(chunk.length);
      return;
    }
    const mayComplete = this.#state !== 'head' || this.#heads.mayComplete(chunk);
    this.#held.append(chunk);
    if (mayComplete) this.advance();
    else this.#awaitHead();
    this.#held.keep();
  };

  #step(): boolean {
    switch (this.#state) {
      case 'head':
        return this.#stepHead();
      case 'exchange':
      case 'discard':
        return this.#stepBody();
      default:
        this.#held.clear();
        return false;
    }
  }

  #stepHead(): boolean {
    const request = this.#heads.next();
    if (request === undefined) {
      if (this.#held.length > 0) this.#awaitHead();
      return false;
    }
    this.#isInHead = false;
    this.#readDeadline.clear();
    this.#decoder.start(request.framing, request.contentLength);
    const exchange = new Http1ServerExchange<Context>(this, this.#context, request);
    this.#exchange = exchange;
    this.#state = 'exchange';
    runHandler(this.#handler, exchange, this.#onHandlerFault);
    return true;
  }

  readonly #onHandlerFault = (exchange: ServerExchange<Context>, error: unknown): void => {
    this.#options.onHandlerError?.(error, this.#context);
    endFaulted(exchange, error);
  };

  #stepBody(): boolean {
    const decoder = this.#decoder;
    const exchange = this.#exchange;
    if (this.#isBroken || (exchange !== undefined && (!exchange.wantsBody || exchange.isBodyPaused))) return false;
    if (decoder.isDone) return this.#bodyEnded();
    const held = this.#held;
    if (held.length === 0) {
      if (exchange !== undefined) this.#readDeadline.set(this.#options.timeouts.bodyIdleMs);
      return false;
    }
    const { bytes, start } = held;
    const next = decoder.next(bytes, start, held.end);
    const { run } = decoder;
    held.consume(next - start);
    if (exchange === undefined) this.#countDiscarded(next - start);
    else if (run > 0) exchange.bodyData(bytes.subarray(next - run, next));
    return true;
  }

  #bodyEnded(): boolean {
    if (this.#exchange === undefined) {
      this.#nextRequest(this.monotonic());
      return true;
    }
    if (this.#exchange.isBodyEndTold) return false;
    this.#readDeadline.clear();
    this.#exchange.bodyEnd(this.#decoder.trailers);
    return true;
  }

  #countDiscarded(count: number): void {
    this.#discardedBytes += count;
    if (this.#discardedBytes > this.#options.limits.drainBytesMax) this.#linger();
  }

  #nextRequest(now: number): void {
    if (this.#isDraining) {
      this.#linger();
      return;
    }
    this.#state = 'head';
    this.#readDeadline.set(this.#options.timeouts.idleMs, now);
  }

  #awaitHead(): void {
    if (this.#isInHead) return;
    this.#isInHead = true;
    this.#readDeadline.set(this.#options.timeouts.headMs);
  }

  /** The peer broke a rule or a limit. Whoever serves the exchange may answer; else the engine does. Nothing follows on the connection. */
  #fail(error: WireError): void {
    this.#isBroken = true;
    this.#held.clear();
    this.#readDeadline.clear();
    const exchange = this.#exchange;
    if (exchange === undefined) {
      if (this.#state === 'head') this.#refuse(error);
      else this.#linger();
      return;
    }
    exchange.clientFailed(error);
    if (exchange.ended) return;
    if (exchange.responded) exchange.abort(error);
    else respond(exchange, { status: error.status, body: `${error.message}\n` });
  }

  #refuse(error: WireError): void {
    const answer = this.#options.onRefused?.(error, this.#context);
    this.writer.writeHead(refusalText(answer ?? { status: error.status, body: `${error.message}\n` }));
    this.#linger();
  }

  #linger(): void {
    this.#state = 'linger';
    this.#held.clear();
    this.#readDeadline.clear();
    this.#lingering.begin();
  }

  #readExpired(): void {
    if (this.#state === 'exchange') this.#fail(ruleBroken('body_timeout', 'the request body did not come in time'));
    else if (this.#state === 'discard' || !this.#isInHead) this.#linger();
    else this.#fail(ruleBroken('head_timeout', 'the request head did not come in time'));
  }

  /** Reading stops while the body's reader asks for it, or more is held than anybody wants yet. */
  #regulate(): void {
    if (this.isClosed || this.#state === 'linger') return;
    const isFull = this.#held.length >= this.#options.limits.readAheadBytesMax;
    const isPaused = this.#exchange?.isBodyPaused === true && !this.#decoder.isDone;
    if (isFull || isPaused) {
      if (isPaused) this.#readDeadline.clear();
      this.#socket.pause();
    } else if (this.#socket.isPaused()) this.#socket.resume();
  }

  readonly #onEnd = (): void => {
    if (this.#state === 'exchange') this.#clientGone();
    else if (this.#state !== 'linger') this.#linger();
  };

  /** A client that closes its side while it waits for a response has given up: there is no other sign of it in TCP. */
  #clientGone(): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#isBroken = true;
    this.#held.clear();
    if (exchange !== undefined && !exchange.ended) {
      const error = new WireError(
        'exchange_aborted',
        'the client closed the connection before the end of the response',
      );
      exchange.finish(error);
      exchange.clientFailed(error);
    }
    this.#socket.destroy();
  }

  readonly #onDrain = (): void => {
    this.#writeWatch.check();
    this.#exchange?.writable();
  };

  /** `close` follows and does the work. */
  readonly #onError = (): void => {};

  readonly #onClose = (): void => {
    if (this.isClosed) return;
    this.#clientGone();
    this.#state = 'closed';
    this.#release();
  };

  #release(): void {
    this.#stopHearing(this.#state === 'given-up');
    this.#readDeadline.dispose();
    this.#writeWatch.dispose();
    this.#lingering.dispose();
    this.#resolveClosed();
    this.#options.onClose?.();
  }
}
