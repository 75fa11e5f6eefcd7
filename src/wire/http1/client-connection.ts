import type { Duplex } from 'node:stream';
import type { ClientOptions } from '../upstream-group.ts';
import { isWebSocketAccepted, newWebSocketKey } from '../websocket.ts';
import { asUpstreamFault, ruleBroken, WireError } from '../wire-error.ts';
import { WriteWatch } from '../write-watch.ts';
import { BodyDecoder } from './body-decoder.ts';
import type { CarriedExchange } from './carried-exchange.ts';
import { closedError } from './closed-error.ts';
import { HeldBytes, readHeadOf } from './held-bytes.ts';
import { keepAliveMs } from './keep-alive.ts';
import { MessageWriter } from './message-writer.ts';
import { requestHeadText } from './outgoing-head.ts';
import { ResponseDeadline } from './response-deadline.ts';
import { type Http1ResponseHead, readResponseHead } from './response-head.ts';
import { hearSocket } from './socket-events.ts';

/** The pool's side of a connection. */
export interface ConnectionOwner {
  /** An exchange is over. A connection that cannot carry another one is destroyed already. */
  released(connection: Http1ClientConnection, isReusable: boolean): void;
  /** It is no longer open; said once, whether or not an exchange is on it. */
  closed(connection: Http1ClientConnection): void;
}

type State = 'idle' | 'head' | 'body' | 'closed';

/** One connection to an upstream: one exchange at a time, and none any more after the least doubt about where a message ended. */
export class Http1ClientConnection {
  /** Clock.monotonic() after which it must not be used again. */
  idleUntil: number;
  readonly #socket: Duplex;
  readonly #owner: ConnectionOwner;
  readonly #options: ClientOptions;
  readonly #stopHearing: (isGivenUp: boolean) => void;
  readonly #held = new HeldBytes();
  readonly #decoder: BodyDecoder;
  readonly #writer: MessageWriter;
  readonly #deadline: ResponseDeadline;
  readonly #writeWatch: WriteWatch;
  #state: State = 'idle';
  #exchange: CarriedExchange | undefined;
  #method = '';
  #upgradeKey = '';
  #head: Http1ResponseHead | undefined;
  #interimCount = 0;
  #hasServed = false;
  #hasResponseBytes = false;
  #isPaused = false;
  #isAdvancing = false;
  #cause: Error | undefined;
  #idleMs: number;

  constructor(socket: Duplex, owner: ConnectionOwner, options: ClientOptions, idleMs: number) {
    this.#socket = socket;
    this.#owner = owner;
    this.#options = options;
    this.#idleMs = idleMs;
    this.idleUntil = options.clock.monotonic() + idleMs;
    this.#decoder = new BodyDecoder(options.limits);
    this.#writer = new MessageWriter(socket);
    this.#deadline = new ResponseDeadline(options, this.#onExpired);
    this.#writeWatch = new WriteWatch(options.clock, socket, this.#writer, options.writeStallMs, this.#onStalled);
    this.#stopHearing = hearSocket(socket, this.#onData, this.#onEnd, this.#onDrain, this.#onError, this.#onClose);
  }

  /** It may carry a request at this moment: alive, and well before its upstream would close it. */
  isUsable(now: number): boolean {
    return this.#state === 'idle' && !this.#socket.destroyed && this.#socket.writable && now < this.idleUntil;
  }

  /** `now`: Clock.monotonic() */
  begin(exchange: CarriedExchange, now: number): void {
    const { request } = exchange;
    this.#deadline.now = now;
    this.#exchange = exchange;
    this.#method = request.method;
    this.#state = 'head';
    this.#interimCount = 0;
    this.#hasResponseBytes = false;
    this.#isPaused = false;
    this.#upgradeKey = request.upgrade === undefined ? '' : newWebSocketKey();
    const head = requestHeadText(request, this.#upgradeKey);
    if (request.framing === 'none' || request.contentLength === 0) {
      this.#writer.writeHead(head);
      this.#requestEnded();
    } else this.#writer.begin(head, request.framing, request.contentLength);
  }

  write(bytes: Buffer): boolean {
    if (this.#writer.write(bytes)) return true;
    this.#writeWatch.check();
    return false;
  }

  end(trailers: string): void {
    if (!this.#writer.isOpen) return;
    this.#writer.end(trailers);
    this.#deadline.tick();
    this.#requestEnded();
  }

  #requestEnded(): void {
    this.#writeWatch.check();
    if (this.#state === 'head') this.#deadline.awaitHead(this.#exchange?.request);
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#deadline.tick();
    this.#advance();
    if (!this.#isPaused && this.#socket.isPaused()) this.#socket.resume();
  }

  /** Drops the exchange, if there is one, and the connection with it. */
  destroy(): void {
    const had = this.#exchange !== undefined;
    this.#exchange = undefined;
    this.#close();
    if (had) this.#owner.released(this, false);
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#state === 'idle') {
      // Bytes that nobody asked for: the next request would take them for its response.
      this.#close();
      return;
    }
    this.#hasResponseBytes = true;
    this.#deadline.tick();
    const mayAdvance = this.#state !== 'head' || this.#held.mayCompleteHead(chunk, this.#options.limits.lineBytesMax);
    this.#held.append(chunk);
    if (mayAdvance) this.#advance();
    this.#held.keep();
  };

  readonly #readHead = (length: number) => readResponseHead(length, this.#options.limits, this.#method);

  #advance(): void {
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    try {
      while (this.#step()) {}
    } catch (error) {
      // Anything else was thrown by a listener: a fault of ours, which costs this exchange and nothing more.
      if (error instanceof WireError) this.fail(asUpstreamFault(error));
      else
        this.fail(new WireError('exchange_aborted', 'passing on the response failed', { cause: error, status: 500 }));
    } finally {
      this.#isAdvancing = false;
    }
  }

  #step(): boolean {
    if (this.#state === 'head') return this.#held.length > 0 && this.#stepHead();
    return this.#state === 'body' && this.#stepBody();
  }

  #stepHead(): boolean {
    const head = readHeadOf(this.#held, this.#options.limits.headBytesMax, this.#readHead);
    if (head === undefined) return false;
    this.#held.consume(head.byteLength);
    if (head.status === 101) return this.#switch(head);
    if (head.status < 200) return this.#interim(head);
    this.#head = head;
    this.#idleMs = Math.min(this.#idleMs, keepAliveMs(head));
    this.#decoder.start(head.framing, head.contentLength);
    this.#state = 'body';
    this.#deadline.awaitMore(this.#exchange?.request);
    this.#exchange?.responded(head);
    return true;
  }

  /** The connection is the exchange's from now on, with what came behind the head. */
  #switch(head: Http1ResponseHead): false {
    const exchange = this.#exchange;
    if (exchange?.request.upgrade === undefined || !head.isUpgrade || !isWebSocketAccepted(head, this.#upgradeKey)) {
      throw ruleBroken('unexpected_switch', 'the protocol was switched to what was not asked for');
    }
    this.#held.giveBackTo(this.#socket);
    this.#exchange = undefined;
    this.#leave();
    this.#owner.released(this, false);
    exchange.switched(this.#socket, head);
    return false;
  }

  #interim(head: Http1ResponseHead): true {
    if (++this.#interimCount > this.#options.limits.interimResponsesMax) {
      throw ruleBroken('interim_responses', 'too many interim responses');
    }
    this.#exchange?.informed(head);
    return true;
  }

  #stepBody(): boolean {
    const decoder = this.#decoder;
    if (decoder.isDone) {
      this.#complete();
      return false;
    }
    const held = this.#held;
    if (held.length === 0 || this.#isPaused) return false;
    const { bytes, start } = held;
    const next = decoder.next(bytes, start, held.end);
    const { run } = decoder;
    held.consume(next - start);
    if (run > 0) {
      this.#deadline.awaitMore(this.#exchange?.request);
      if (this.#exchange?.data(bytes.subarray(next - run, next)) === false) this.#pause();
    }
    return true;
  }

  #pause(): void {
    if (this.#exchange === undefined) return;
    this.#isPaused = true;
    this.#deadline.clear();
    this.#socket.pause();
  }

  #complete(): void {
    const exchange = this.#exchange;
    const isReusable =
      this.#head?.keepsConnection === true &&
      !this.#writer.isOpen &&
      this.#held.length === 0 &&
      this.#idleMs > 0 &&
      !this.#socket.destroyed;
    this.#exchange = undefined;
    this.#head = undefined;
    this.#hasServed = true;
    this.idleUntil = this.#deadline.now + this.#idleMs;
    this.#deadline.clear();
    this.#state = 'idle';
    if (!isReusable) this.#close();
    else if (this.#socket.isPaused()) this.#socket.resume();
    if (exchange === undefined) return;
    const { trailers } = this.#decoder;
    this.#owner.released(this, isReusable);
    exchange.completed(trailers);
  }

  fail(error: WireError): void {
    const exchange = this.#exchange;
    const isUnanswered = this.#hasServed && !this.#hasResponseBytes;
    this.#exchange = undefined;
    this.#close();
    exchange?.connectionFailed(error, isUnanswered);
  }

  #close(): void {
    if (this.#state === 'closed') return;
    this.#socket.destroy();
    this.#leave();
  }

  #leave(): void {
    this.#state = 'closed';
    this.#held.clear();
    this.#deadline.dispose();
    this.#writeWatch.dispose();
    this.#stopHearing(false);
    this.#owner.closed(this);
  }

  readonly #onEnd = (): void => {
    this.#deadline.tick();
    if (this.#state === 'idle') this.#close();
    else if (this.#state === 'body' && this.#decoder.endOfInput()) this.#complete();
    else this.#onClose();
  };

  readonly #onClose = (): void => {
    if (this.#state === 'idle') this.#close();
    else if (this.#state !== 'closed') {
      const [hasResponseBytes, hasServed] = [this.#hasResponseBytes, this.#hasServed];
      this.fail(closedError({ hasResponseBytes, hasServed, idleMs: this.#idleMs, cause: this.#cause }));
    }
  };

  readonly #onDrain = (): void => {
    this.#writeWatch.check();
    this.#exchange?.requestWritable();
  };

  readonly #onExpired = (): void => {
    const part = this.#state === 'head' ? 'did not answer' : 'fell silent in the midst of its response';
    this.fail(new WireError('upstream_timeout', `the upstream ${part} in time`));
  };

  readonly #onStalled = (): void => {
    this.fail(new WireError('upstream_timeout', 'the upstream does not take the request'));
  };

  /** `close` follows and does the work. */
  readonly #onError = (error: Error): void => {
    this.#cause = error;
  };
}
