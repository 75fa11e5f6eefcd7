/**
 * OTLP 1.9 in its JSON encoding: that of Protocol Buffers, but with ids in hexadecimal and enums as numbers; 64-bit integers are decimal
 * strings (opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding").
 */
export interface FinishedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Of another process. Absent: the trace begins here. */
  readonly parentId: string | undefined;
  /** Of few values. */
  readonly name: string;
  readonly kind: 'server' | 'client';
  /** Milliseconds since the epoch, with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  readonly isError: boolean;
}

/** What is undefined is left out. */
export type Attributes = Readonly<Record<string, string | number | undefined>>;

const kinds = { server: 2, client: 3 } as const;
const errorStatus = { code: 2 } as const;
/** W3C: sampled. */
const sampledFlag = 0x01;
/** `SpanFlags`: it is known whether the parent is of another process; it is. */
const remoteKnown = 0x100;
const remote = 0x200;
/** A path may have eight times as much; a queue of spans would hold it twice. */
const valueCharsMax = 1024;

/** One element of `spans`. */
export function spanJson(span: FinishedSpan): string {
  const { traceId, spanId, parentId, name, kind, attributes, isError } = span;
  return JSON.stringify({
    traceId,
    spanId,
    ...(parentId !== undefined && { parentSpanId: parentId }),
    flags: parentId === undefined ? sampledFlag | remoteKnown : sampledFlag | remoteKnown | remote,
    name,
    kind: kinds[kind],
    startTimeUnixNano: nanoseconds(span.startMs),
    endTimeUnixNano: nanoseconds(span.endMs),
    attributes: keyValues(attributes),
    ...(isError && { status: errorStatus }),
  });
}

/** `ExportTraceServiceRequest` for spans of one process. */
export function exportRequest(resource: Attributes, spans: readonly string[]): string {
  const head = JSON.stringify({ attributes: keyValues(resource) });
  return `{"resourceSpans":[{"resource":${head},"scopeSpans":[{"scope":{"name":"cellmesh"},"spans":[${spans.join(',')}]}]}]}`;
}

function keyValues(attributes: Attributes): unknown[] {
  return Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value: anyValue(value) }],
  );
}

function anyValue(value: string | number) {
  return typeof value === 'string'
    ? { stringValue: value.slice(0, valueCharsMax) }
    : { intValue: String(Math.round(value)) };
}

/** A double holds today's nanoseconds to a quarter of a microsecond, and prints them as an integer. */
function nanoseconds(ms: number): string {
  return String(Math.round(ms * 1e6));
}
