import type { Random } from '#runtime/random.ts';
import { fieldIds } from '#wire/field-names.ts';
import { isGrpc } from '#wire/grpc.ts';
import type { RequestHead } from '#wire/message.ts';
import type { RequestSpan } from './request-span.ts';
import {
  continuedBy,
  makeTraceparent,
  newSpanId,
  noMembers,
  onlyHandle,
  parseTraceparent,
  parseTracestate,
  partsOf,
  putHandle,
  type Traceparent,
  type TracestateMember,
  takeHandle,
  writeTracestate,
} from './trace-context.ts';

const { traceparent: parentFieldId, tracestate: stateFieldId } = fieldIds;

/** The trace of a request. */
export interface RequestTrace {
  /** What goes on: what came, or a new one, or one with our span in it. */
  readonly parent: Traceparent;
  /** Members of others, in their order. */
  readonly others: readonly TracestateMember[];
  /** The value of our member, as it came. */
  readonly handle: string | undefined;
  /** Where spans are made, and this trace is sampled. */
  readonly span: RequestSpan | undefined;
}

interface TracingOptions {
  readonly random: Random;
  /** Share of new traces that are sampled; whoever comes with a trace has decided already. */
  readonly tracingRatio: number;
  readonly makesSpans: boolean;
}

/**
 * W3C Trace Context 4.3: without a `traceparent` that can be read, `tracestate` means nothing to tracing and does not go on. Our own member is read all the same:
 * it is no part of the trace.
 */
export function readTrace(request: RequestHead, options: TracingOptions): RequestTrace {
  const { random, tracingRatio, makesSpans } = options;
  const state = request.fieldById(stateFieldId);
  const { handle, others } = state === undefined ? noState : takeHandle(membersOf(request, state));
  const text = request.fieldById(parentFieldId);
  const came = text === undefined || request.countById(parentFieldId) > 1 ? undefined : parseTraceparent(text);
  const parent = came ?? makeTraceparent(random, tracingRatio);
  const trace = { parent, others: came === undefined ? noMembers : others, handle, span: undefined };
  return makesSpans ? withSpan(trace, came !== undefined, request, random) : trace;
}

function withSpan(trace: RequestTrace, hasParent: boolean, request: RequestHead, random: Random): RequestTrace {
  const { parent } = trace;
  const { parentId, isSampled } = partsOf(parent);
  if (!isSampled) return trace;
  // A trace that was made here begins with this span.
  const id = hasParent ? newSpanId(random) : parentId;
  const span = {
    traceId: parent.traceId,
    id,
    parentId: hasParent ? parentId : undefined,
    isGrpc: isGrpc(request),
    authority: request.authority,
    peer: undefined,
    grpcStatus: undefined,
  };
  return { ...trace, span, parent: hasParent ? continuedBy(parent, id) : parent };
}

const noState = { handle: undefined, others: noMembers };

/** The lines of both fields for a message that goes on, with `handle` as our member where there is one. */
export function traceLines({ parent, others }: RequestTrace, handle?: string): string {
  // Neither needs a check: they were parsed strictly, or made here.
  const parentLine = `traceparent: ${parent.text}\r\n`;
  const state = others.length === 0 ? handle && onlyHandle(handle) : stateOf(others, handle);
  return state === undefined ? parentLine : `${parentLine}tracestate: ${state}\r\n`;
}

function stateOf(others: RequestTrace['others'], handle: string | undefined): string | undefined {
  return writeTracestate(handle === undefined ? others : putHandle(others, handle));
}

/** `first`: the value of the first of the fields. */
function membersOf(request: RequestHead, first: string): readonly TracestateMember[] {
  const all = request.countById(stateFieldId) === 1 ? [first] : (request.find('tracestate') ?? '').split(', ');
  return parseTracestate(all) ?? noMembers;
}
