import type { Random } from '#runtime/random.ts';
import type { RequestHead } from '#wire/message.ts';
import {
  makeTraceparent,
  parseTraceparent,
  parseTracestate,
  putHandle,
  type Traceparent,
  type TracestateMember,
  takeHandle,
  writeTracestate,
} from './trace-context.ts';

/** The trace of a request: what came, cleaned, or a new one. */
export interface RequestTrace {
  readonly parent: Traceparent;
  /** Members of others, in their order. */
  readonly others: readonly TracestateMember[];
  /** The value of our member, as it came. */
  readonly handle: string | undefined;
}

/**
 * W3C Trace Context 4.3: without a `traceparent` that can be read, `tracestate` means nothing to tracing and does not go on. Our own member is read all the same:
 * it is no part of the trace.
 */
export function readTrace(request: RequestHead, random: Random, ratio: number): RequestTrace {
  const { handle, others } = takeHandle(parseTracestate(valuesOf(request, 'tracestate')) ?? []);
  const parent = parseTraceparent(valuesOf(request, 'traceparent'));
  if (parent === undefined) return { parent: makeTraceparent(random, ratio), others: [], handle };
  return { parent, others, handle };
}

/** The lines of both fields for a message that goes on, with `handle` as our member where there is one. */
export function traceLines({ parent, others }: RequestTrace, handle?: string): string {
  const state = writeTracestate(handle === undefined ? others : putHandle(others, handle));
  // Neither needs a check: they were parsed strictly, or made here.
  const parentLine = `traceparent: ${parent.text}\r\n`;
  return state === undefined ? parentLine : `${parentLine}tracestate: ${state}\r\n`;
}

function valuesOf(request: RequestHead, name: 'traceparent' | 'tracestate'): readonly string[] {
  const first = request.field(name);
  if (first === undefined) return [];
  return request.fieldCount(name) === 1 ? [first] : (request.find(name) ?? '').split(', ');
}
