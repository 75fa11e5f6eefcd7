import type { Duplex } from 'node:stream';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import type {
  Client,
  ClientExchange,
  ClientExchangeListener,
  ServerExchange,
  ServerExchangeListener,
  Upstream,
} from './exchange.ts';
import { type FieldSet, fieldSet } from './field-names.ts';
import { grpcStatusIn, grpcTimeoutMs, grpcTrailers, isGrpc } from './grpc.ts';
import type { ResponseHead } from './message.ts';
import { requestDeadlines } from './request-deadlines.ts';
import { respond } from './respond.ts';
import type { NextAttempt, Retry } from './retry.ts';
import { SentBody } from './sent-body.ts';
import type { Upgrade } from './websocket.ts';
import { WireError } from './wire-error.ts';

/** What to leave out of a copied head and what to append: lines as `fieldLines` makes them. */
export interface FieldEdit {
  readonly drop: FieldSet;
  readonly append: string;
}

/** Milliseconds. What is absent is the pool's, or unlimited. */
interface ForwardTimeouts {
  /** From the end of the request to the head of its response. */
  readonly headMs?: number;
  /** Between two pieces of the response's body. */
  readonly idleMs?: number;
  /** From the first attempt to the end of the response. */
  readonly totalMs?: number;
}

/** Where a request goes and how its heads change. Hop-by-hop and framing fields, and what `Connection` nominates, never pass. */
export interface ForwardPlan {
  readonly client: Client;
  readonly upstream: Upstream;
  /** The request target sent: the path that was decided on, never the one that came. */
  readonly target: string;
  /** The host sent. Default: the request's own. */
  readonly authority?: string;
  readonly request: FieldEdit;
  /** Runs the time-outs that requests bring along (`grpc-timeout`), those of `timeouts`, and pauses between attempts. */
  readonly clock?: Clock;
  readonly timeouts?: ForwardTimeouts | undefined;
  /** Joins both ends of what an upgrade has become. Without it no upgrade is passed on. */
  onTunnel?(client: Duplex, upstream: Duplex): void;
  /** Where to go when an attempt fails. Default: nowhere. */
  readonly retry?: Retry;
  /** How the final head changes; interim heads lose their fields but `link`. Default: nothing more is dropped. */
  editResponse?(head: ResponseHead): FieldEdit;
  /** Told how a gRPC call ended, where its response says so. */
  readonly onGrpcStatus?: ((status: number) => void) | undefined;
  /**
   * The upstream failed, or the request's body broke a rule or a limit, and nothing was sent to the client: answer the exchange. Default: the
   * error's status and message.
   */
  onFailed?(error: WireError): void;
}

/** Sends the exchange's request to an upstream and answers with its response; both bodies flow with back-pressure. */
export function forward<Context>(exchange: ServerExchange<Context>, plan: ForwardPlan): void {
  if (exchange.ended || exchange.responded) return;
  new Forwarding(exchange, plan).start();
}

const unlimited = Number.POSITIVE_INFINITY;
const noEdit: FieldEdit = { drop: fieldSet(), append: '' };

/** One object hears both sides, so that a forwarded request costs no closures. */
class Forwarding implements ServerExchangeListener, ClientExchangeListener {
  readonly #downstream: ServerExchange<unknown>;
  readonly #plan: ForwardPlan;
  /** What was sent of the body, where another attempt is possible. */
  readonly #sent: SentBody | undefined;
  #upstream: ClientExchange | undefined;
  #deadline: Scheduled | undefined;
  /** The time was the client's to choose: that it has passed says nothing against the upstream. */
  #isDeadlineOfClient = false;
  #pause: Scheduled | undefined;
  /** The attempt under way takes bytes of the body. */
  #isReady = false;
  #hasBodyBegun = false;
  #isOver = false;

  constructor(downstream: ServerExchange<unknown>, plan: ForwardPlan) {
    this.#downstream = downstream;
    this.#plan = plan;
    if (plan.retry !== undefined) this.#sent = new SentBody();
  }

  start(): void {
    const { timeouts, clock, upstream } = this.#plan;
    this.#downstream.listen(this);
    const askedMs = grpcTimeoutMs(this.#downstream.request) ?? unlimited;
    const allowedMs = timeouts?.totalMs ?? unlimited;
    const totalMs = Math.min(askedMs, allowedMs);
    this.#isDeadlineOfClient = askedMs < allowedMs;
    if (totalMs !== unlimited && clock !== undefined) this.#deadline = requestDeadlines(clock).set(totalMs, this);
    this.#attempt(upstream, 0);
  }

  onRequestReady(exchange: ClientExchange): void {
    this.#upstream = exchange;
    this.#isReady = true;
    const isFirst = !this.#hasBodyBegun;
    this.#hasBodyBegun = true;
    // What a client says before its upgrade is accepted waits.
    if (this.#upgrade() !== undefined) return;
    if (isFirst) this.#downstream.readBody({ relayContinue: true });
    else if (this.#sent?.sendTo(exchange) !== false) this.#downstream.resumeBody();
  }

  onRequestData(bytes: Buffer): boolean {
    this.#sent?.add(bytes, this.#isReady);
    return this.#isReady && this.#upstream?.write(bytes) === true;
  }

  onRequestEnd(trailers: string): void {
    this.#sent?.end(trailers);
    this.#plan.retry?.sent();
    if (this.#isReady) this.#upstream?.end(trailers);
  }

  onRequestWritable(): void {
    this.#downstream.resumeBody();
  }

  onAborted(error: WireError): void {
    this.#end(undefined);
    this.#upstream?.abort();
    if (!this.#downstream.ended && !this.#downstream.responded) this.#tellConsumer(error);
  }

  onInformed(head: ResponseHead): void {
    const link = head.find('link');
    this.#downstream.inform(head.status, link === undefined ? '' : `link: ${link}\r\n`);
  }

  onResponse(head: ResponseHead): void {
    const { status, reason, framing, contentLength } = head;
    if (this.#isRetried(status)) return;
    this.#plan.retry?.answered(status);
    this.#sent?.giveUp();
    const edit = this.#plan.editResponse?.(head) ?? noEdit;
    const fields = head.linesExcept(edit.drop) + edit.append;
    this.#findGrpcStatus(fields);
    if (framing === 'none') {
      const stated = contentLength >= 0 ? 'length' : 'none';
      this.#downstream.respond({ status, reason, fields, framing: stated, contentLength });
    } else {
      const restated = framing === 'until-close' ? 'chunked' : framing;
      this.#downstream.respond({ status, reason, fields, framing: restated, contentLength });
    }
  }

  onTunnel(upstream: Duplex, head: ResponseHead): void {
    if (this.#downstream.ended) {
      upstream.destroy();
      return;
    }
    const { retry, onTunnel } = this.#plan;
    retry?.answered(head.status);
    const edit = this.#plan.editResponse?.(head) ?? noEdit;
    upstream.once('close', () => this.#end(undefined));
    this.#deadline?.cancel();
    onTunnel?.call(this.#plan, this.#downstream.acceptTunnel(head.linesExcept(edit.drop) + edit.append), upstream);
  }

  onResponseData(bytes: Buffer): boolean {
    return this.#downstream.write(bytes);
  }

  onWritable(): void {
    this.#upstream?.resume();
  }

  onResponseEnd(trailers: string): void {
    this.#end(undefined);
    this.#findGrpcStatus(trailers);
    this.#downstream.end(trailers);
  }

  onFailed(error: WireError): void {
    if (this.#isOver) return;
    this.#forgetAttempt();
    if (this.#canSendAgain()) {
      const next = this.#plan.retry?.next({ error });
      if (next !== undefined) return this.#attemptLater(next);
    }
    this.#end(error);
    if (this.#downstream.responded) this.#downstream.abort(error);
    else this.#tellConsumer(error);
  }

  /** It stands in the trailers, or in the head of a response that is nothing else. */
  #findGrpcStatus(fields: string): void {
    if (this.#plan.onGrpcStatus === undefined) return;
    const status = grpcStatusIn(fields);
    if (status !== undefined) this.#plan.onGrpcStatus(status);
  }

  #upgrade(): Upgrade | undefined {
    return this.#plan.onTunnel === undefined ? undefined : this.#downstream.request.upgrade;
  }

  #canSendAgain(): boolean {
    return !this.#downstream.responded && !this.#downstream.ended && this.#sent?.isWhole === true;
  }

  #attempt(upstream: Upstream, retries: number): void {
    const { request } = this.#downstream;
    const { client, target, authority = request.authority, request: edit, timeouts } = this.#plan;
    // A gRPC server may send its head with its first message, however late that is; the client says how long it waits.
    const headMs = isGrpc(request) ? unlimited : timeouts?.headMs;
    const outgoing = {
      method: request.method,
      target,
      authority,
      fields: request.linesExcept(edit.drop) + edit.append + (retries === 0 ? '' : `retry-attempt: ${retries}\r\n`),
      framing: request.framing,
      contentLength: request.contentLength,
      expectsContinue: request.expectsContinue && !this.#hasBodyBegun,
      acceptsTrailers: request.acceptsTrailers,
      // Always of the same shape: engines read it for each request.
      upgrade: this.#upgrade(),
      responseHeadMs: headMs,
      responseIdleMs: timeouts?.idleMs,
    };
    const exchange = client.request(upstream, outgoing, this);
    if (!this.#isOver && this.#pause === undefined) this.#upstream ??= exchange;
  }

  #attemptLater({ upstream, retries, afterMs }: NextAttempt): void {
    const { clock } = this.#plan;
    if (afterMs === 0 || clock === undefined) return this.#attempt(upstream, retries);
    this.#pause = clock.schedule(afterMs, () => {
      this.#pause = undefined;
      this.#attempt(upstream, retries);
    });
  }

  /** Throws an answer away that is as good as none, for another attempt. */
  #isRetried(status: number): boolean {
    const { retry } = this.#plan;
    if (retry?.mayRetry(status) !== true || !this.#canSendAgain()) return false;
    const next = retry.next({ status });
    if (next === undefined) return false;
    this.#upstream?.abort();
    this.#forgetAttempt();
    this.#attemptLater(next);
    return true;
  }

  #forgetAttempt(): void {
    this.#upstream = undefined;
    this.#isReady = false;
  }

  #end(error: WireError | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#deadline?.cancel();
    this.#pause?.cancel();
    this.#sent?.giveUp();
    this.#plan.retry?.over(error);
  }

  /** The client waits no longer: nobody behind should work on. */
  timeIsUp(): void {
    if (this.#isOver) return;
    const error = new WireError('upstream_timeout', 'the time that the request allows has passed');
    this.#upstream?.abort();
    this.#end(this.#isDeadlineOfClient ? undefined : error);
    if (!this.#downstream.responded) this.#tellConsumer(error);
    else if (isGrpc(this.#downstream.request)) this.#downstream.end(grpcTrailers(error.status, error.message));
    else this.#downstream.abort(error);
  }

  /** This may run from a socket's event, where nobody else would catch what the consumer throws. */
  #tellConsumer(error: WireError): void {
    try {
      if (this.#plan.onFailed !== undefined) this.#plan.onFailed(error);
      else respond(this.#downstream, { status: error.status, body: `${error.message}\n` });
    } catch (cause) {
      this.#downstream.abort(
        new WireError('exchange_aborted', 'answering a failed request failed', { cause, status: 500 }),
      );
    }
  }
}
