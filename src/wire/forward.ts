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
import { grpcTimeoutMs, grpcTrailers, isGrpc } from './grpc.ts';
import type { ResponseHead } from './message.ts';
import { respond } from './respond.ts';
import { WireError } from './wire-error.ts';

/** What to leave out of a copied head and what to append: lines as `fieldLines` makes them. */
export interface FieldEdit {
  readonly drop: FieldSet;
  readonly append: string;
}

/**
 * Where a request goes and how its heads change. Hop-by-hop and framing fields, and what `Connection` nominates, never pass. */
export interface ForwardPlan {
  readonly client: Client;
  readonly upstream: Upstream;
  /** The request target sent: the path that was decided on, never the one that came. */
  readonly target: string;
  /** The host sent. Default: the request's own. */
  readonly authority?: string;
  readonly request: FieldEdit;
  /** Runs the time-outs that requests bring along (`grpc-timeout`). */
  readonly clock?: Clock;
  /** How the final head changes; interim heads lose their fields but `link`. Default: nothing more is dropped. */
  editResponse?(head: ResponseHead): FieldEdit;
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

const noEdit: FieldEdit = { drop: fieldSet(), append: '' };

/** One object hears both sides, so that a forwarded request costs no closures. */
class Forwarding implements ServerExchangeListener, ClientExchangeListener {
  readonly #downstream: ServerExchange<unknown>;
  readonly #plan: ForwardPlan;
  #upstream: ClientExchange | undefined;
  #deadline: Scheduled | undefined;
  #isOver = false;

  constructor(downstream: ServerExchange<unknown>, plan: ForwardPlan) {
    this.#downstream = downstream;
    this.#plan = plan;
  }

  start(): void {
    const { request } = this.#downstream;
    const { client, upstream, target, authority = request.authority, request: edit } = this.#plan;
    this.#downstream.listen(this);
    const outgoing = {
      method: request.method,
      target,
      authority,
      fields: request.linesExcept(edit.drop) + edit.append,
      framing: request.framing,
      contentLength: request.contentLength,
      expectsContinue: request.expectsContinue,
      acceptsTrailers: request.acceptsTrailers,
      // A gRPC server may send its head with its first message, however late that is; the client says how long it waits.
      ...(isGrpc(request) && { responseHeadMs: Number.POSITIVE_INFINITY }),
    };
    const timeoutMs = grpcTimeoutMs(request);
    if (timeoutMs !== undefined) this.#deadline = this.#plan.clock?.schedule(timeoutMs, () => this.#expired());
    const exchange = client.request(upstream, outgoing, this);
    if (!this.#isOver) this.#upstream = exchange;
  }

  onRequestReady(exchange: ClientExchange): void {
    this.#upstream = exchange;
    this.#downstream.readBody({ relayContinue: true });
  }

  onRequestData(bytes: Buffer): boolean {
    return this.#upstream?.write(bytes) ?? true;
  }

  onRequestEnd(trailers: string): void {
    this.#upstream?.end(trailers);
  }

  onRequestWritable(): void {
    this.#downstream.resumeBody();
  }

  onAborted(error: WireError): void {
    this.#end();
    this.#upstream?.abort();
    if (!this.#downstream.ended && !this.#downstream.responded) this.#tellConsumer(error);
  }

  onInformed(head: ResponseHead): void {
    const link = head.find('link');
    this.#downstream.inform(head.status, link === undefined ? '' : `link: ${link}\r\n`);
  }

  onResponse(head: ResponseHead): void {
    const { status, reason, framing, contentLength } = head;
    const edit = this.#plan.editResponse?.(head) ?? noEdit;
    const fields = head.linesExcept(edit.drop) + edit.append;
    if (framing === 'none') {
      const stated = contentLength >= 0 ? 'length' : 'none';
      this.#downstream.respond({ status, reason, fields, framing: stated, contentLength });
    } else {
      const restated = framing === 'until-close' ? 'chunked' : framing;
      this.#downstream.respond({ status, reason, fields, framing: restated, contentLength });
    }
  }

  onResponseData(bytes: Buffer): boolean {
    return this.#downstream.write(bytes);
  }

  onWritable(): void {
    this.#upstream?.resume();
  }

  onResponseEnd(trailers: string): void {
    this.#end();
    this.#downstream.end(trailers);
  }

  onFailed(error: WireError): void {
    if (this.#isOver) return;
    this.#end();
    if (this.#downstream.responded) this.#downstream.abort(error);
    else if (this.#plan.onFailed === undefined) {
      respond(this.#downstream, { status: error.status, body: `${error.message}\n` });
    } else this.#tellConsumer(error);
  }

  #end(): void {
    this.#isOver = true;
    this.#deadline?.cancel();
  }

  /** The client waits no longer: nobody behind should work on. */
  #expired(): void {
    if (this.#isOver) return;
    const error = new WireError('upstream_timeout', 'the time that the request allows has passed');
    this.#upstream?.abort();
    if (this.#downstream.responded) {
      this.#end();
      this.#downstream.end(grpcTrailers(error.status, error.message));
    } else this.onFailed(error);
  }

  /** This may run from a socket's event, where nobody else would catch what the consumer throws. */
  #tellConsumer(error: WireError): void {
    try {
      this.#plan.onFailed?.(error);
    } catch (cause) {
      this.#downstream.abort(
        new WireError('exchange_aborted', 'answering a failed request failed', { cause, status: 500 }),
      );
    }
  }
}
