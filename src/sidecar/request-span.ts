import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { Attributes, FinishedSpan } from '#feeds/otlp-span.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { statusOf } from '#policy/reasons.ts';
import type { Clock } from '#runtime/clock.ts';
import type { ExchangeOutcome } from '#wire/exchange.ts';
import type { ForwardPlan } from '#wire/forward.ts';
import { grpcCodeOf } from '#wire/grpc.ts';
import { splitAuthority } from './authority.ts';

/** What a sampled request's span is made of, beside its record: filled from top to bottom of the path, like that. */
export interface RequestSpan {
  readonly traceId: string;
  readonly id: string;
  readonly parentId: string | undefined;
  readonly isGrpc: boolean;
  /** `host:port` that is called. */
  authority: string;
  /** SPIFFE ID of the callee; of a caller the record has it. */
  peer: SpiffeId | undefined;
  grpcStatus: number | undefined;
}

/** Where finished spans go. Never waits, never throws. */
export interface SpanSink {
  add(span: FinishedSpan): void;
}

type WallClock = Pick<Clock, 'now' | 'monotonic'>;

export type SpanOutcome = Pick<ExchangeOutcome, 'status' | 'durationMs' | 'error'>;

export function noteCallee(span: RequestSpan, authority: string, id: SpiffeId): void {
  span.authority = authority;
  span.peer = id;
}

/** For a plan: tells the span of a gRPC call how it ended. */
export function hearGrpcStatus(span: RequestSpan | undefined): ForwardPlan['onGrpcStatus'] {
  if (span?.isGrpc !== true) return undefined;
  return (status) => {
    span.grpcStatus = status;
  };
}

/** Makes a span of what is known of a request at its end. */
export class RequestSpans {
  readonly #sink: SpanSink;
  readonly #clock: WallClock;
  #epochMs: number;

  constructor(sink: SpanSink, clock: WallClock) {
    this.#sink = sink;
    this.#clock = clock;
    this.#epochMs = clock.now() - clock.monotonic();
  }

  end(span: RequestSpan, record: DecisionRecord, outcome: SpanOutcome): void {
    // An answer of our own has no upstream to hear it from.
    if (span.isGrpc && record.reason !== undefined) span.grpcStatus ??= grpcCodeOf(statusOf(record.reason));
    const { traceId, id: spanId, parentId } = span;
    const isInbound = record.direction === 'inbound';
    const endMs = this.#now();
    this.#sink.add({
      traceId,
      spanId,
      parentId,
      name: nameOf(span, record),
      kind: isInbound ? 'server' : 'client',
      startMs: endMs - outcome.durationMs,
      endMs,
      attributes: attributesOf(span, record, outcome),
      isError: isError(span, record, outcome),
    });
  }

  /** The time with fractions of a millisecond, which `now()` does not have: the hops of one request lie closer together. */
  #now(): number {
    const monotonic = this.#clock.monotonic();
    const epochMs = this.#clock.now() - monotonic;
    // The clock was set, or has run away from the other one.
    if (Math.abs(epochMs - this.#epochMs) > 1) this.#epochMs = epochMs;
    return this.#epochMs + monotonic;
  }
}

/** Of few values: a path has too many, but a rule or a route is one of the manifest's. */
function nameOf({ isGrpc }: RequestSpan, record: DecisionRecord): string {
  if (isGrpc && record.outcome === 'permit') return rpcMethodOf(record);
  const { rule, route = rule } = record;
  const method = knownMethods.has(record.method ?? '') ? record.method! : 'HTTP';
  return route === undefined ? method : `${method} ${route}`;
}

function attributesOf(span: RequestSpan, record: DecisionRecord, outcome: SpanOutcome): Attributes {
  const { host, port } = splitAuthority(span.authority);
  return {
    ...(span.isGrpc ? rpcAttributes(span, record) : httpAttributes(span, record)),
    'server.address': host,
    'server.port': port,
    'error.type': isError(span, record, outcome) ? errorTypeOf(span, record, outcome) : undefined,
    'cellmesh.decision.id': record.id,
    'cellmesh.decision.outcome': record.outcome,
    'cellmesh.decision.reason': record.reason,
    'cellmesh.rule': record.rule,
    'cellmesh.route': record.route,
    'cellmesh.peer.id': record.peer ?? span.peer,
    'cellmesh.policy.version': record.policyVersion,
  };
}

/** RFC 9110 9.1 and RFC 5789; any other could be anything. */
const knownMethods: ReadonlySet<string> = new Set('GET HEAD POST PUT PATCH DELETE CONNECT OPTIONS TRACE'.split(' '));

/** Semantic conventions of OpenTelemetry for HTTP, as of 1.23: without the query, which may hold secrets. */
function httpAttributes(
  { authority }: RequestSpan,
  { direction, method = '', path, status }: DecisionRecord,
): Attributes {
  const isKnown = knownMethods.has(method);
  return {
    'http.request.method': isKnown ? method : '_OTHER',
    'http.request.method_original': isKnown ? undefined : method,
    'http.response.status_code': status === 0 ? undefined : status,
    // Between sidecars all is TLS.
    'url.scheme': 'https',
    'url.path': path,
    'url.full': direction === 'inbound' || path === undefined ? undefined : `https://${authority}${path}`,
  };
}

/** For RPC, as of 1.45. */
function rpcAttributes({ grpcStatus }: RequestSpan, record: DecisionRecord): Attributes {
  return {
    'rpc.system.name': 'grpc',
    'rpc.method': rpcMethodOf(record),
    'rpc.response.status_code': grpcStatus === undefined ? undefined : (grpcCodes[grpcStatus] ?? String(grpcStatus)),
  };
}

/** `package.Service/Method` */
function rpcMethodOf({ path = '' }: DecisionRecord): string {
  return path.slice(1);
}

/** Indexed by their number. */
const grpcCodes: readonly string[] =
  'OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED'.split(
    ' ',
  );
/** Those that are a server's fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS. */
const grpcServerErrors: readonly number[] = [2, 4, 12, 13, 14, 15];

/** What a client is told is its own fault is an error of its span, and none of the server's. */
function isError({ grpcStatus }: RequestSpan, { direction, status }: DecisionRecord, { error }: SpanOutcome): boolean {
  const isServer = direction === 'inbound';
  if (error !== undefined || status === 0 || status >= (isServer ? 500 : 400)) return true;
  if (grpcStatus === undefined) return false;
  return isServer ? grpcServerErrors.includes(grpcStatus) : grpcStatus !== 0;
}

function errorTypeOf({ grpcStatus }: RequestSpan, record: DecisionRecord, { error }: SpanOutcome): string {
  const { reason, isAudited, status } = record;
  if (reason !== undefined && isAudited !== true) return reason;
  if (error !== undefined) return error.code;
  return grpcStatus === undefined ? String(status) : (grpcCodes[grpcStatus] ?? String(grpcStatus));
}
