import { parseDuration } from '#runtime/duration.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { idempotentMethods } from '#runtime/idempotent-methods.ts';
import type { Position, Problems } from '#runtime/yaml-document.ts';
import type { PathPattern } from './path-pattern.ts';
import { integer, list, object, oneOf, optional, parsed, required, type Shape } from './shapes.ts';
import type { RouteMatch } from './snapshot.ts';

/** How long a call may take. Milliseconds; what is absent is the sidecar's own setting, or unlimited (`totalMs`). */
export interface CallTimeouts {
  /** From the end of the request to the head of the response. */
  readonly headMs?: number;
  /** Between two pieces of the response's body. */
  readonly idleMs?: number;
  /** Of all attempts together, to the end of the response. */
  readonly totalMs?: number;
}

/** When a call is sent again that its callee may have seen; only methods that are idempotent are. */
export interface CallRetries {
  /** In all, the first included. */
  readonly attempts: number;
  readonly onReset: boolean;
  readonly statuses: readonly number[];
}

/** How calls that match travel. */
export interface CallRoute extends RouteMatch {
  readonly timeouts: CallTimeouts;
  readonly retries?: CallRetries;
}

const timeMaxMs = 3_600_000;
const time = parsed((text) => {
  const ms = parseDuration(text);
  if (ms !== undefined && ms >= 1 && ms <= timeMaxMs) return ms;
  const written = JSON.stringify(text.slice(0, 32));
  throw new CellmeshError('document_invalid', `${written} is no duration from 1ms to 1h; write 500ms, 30s or 5m`);
}, 'a duration');
const times = { head: optional(time), idle: optional(time), total: optional(time) };
const retries = object({
  attempts: required(integer(2, 5)),
  on: required(list(oneOf<'reset' | 502 | 503 | 504>('reset', 502, 503, 504), { min: 1, max: 4 })),
});

/** Fields of an entry of `calls`. `http` and `port` are read by the shapes of rules. */
export function trafficFields<P, H>(shapes: { readonly port: Shape<P>; readonly http: Shape<H> }) {
  const route = object({
    port: optional(shapes.port),
    http: optional(shapes.http),
    timeouts: optional(object(times)),
    retries: optional(retries),
  });
  return {
    timeouts: optional(object({ connect: optional(time), ...times })),
    retries: optional(retries),
    routes: optional(list(route, { max: 100 })),
  };
}

interface WrittenTimes {
  readonly head?: number;
  readonly idle?: number;
  readonly total?: number;
}

interface WrittenTraffic {
  readonly timeouts?: WrittenTimes;
  readonly retries?: { readonly attempts: number; readonly on: readonly ('reset' | 502 | 503 | 504)[] };
}

interface WrittenRoute extends WrittenTraffic {
  readonly port?: number;
  readonly http?: { readonly methods?: readonly string[]; readonly paths?: readonly PathPattern[] };
}

/** The routes in the order in which they are tried, each with what it takes over from its call; the call itself is the last. */
export function callRoutesOf(call: WrittenTraffic & { readonly routes?: readonly WrittenRoute[] }): CallRoute[] {
  const all = [...(call.routes ?? []), ...(call.timeouts === undefined && call.retries === undefined ? [] : [{}])];
  return all.map(({ port, http, timeouts, retries = inheritedRetries(call, http?.methods) }: WrittenRoute) => ({
    ...(port === undefined ? {} : { port }),
    ...(http?.methods === undefined ? {} : { methods: http.methods }),
    ...(http?.paths === undefined ? {} : { paths: http.paths }),
    timeouts: timeoutsOf({ ...call.timeouts, ...timeouts }),
    ...(retries === undefined ? {} : { retries: retriesOf(retries) }),
  }));
}

/** What a call says for all its routes is not meant for methods that cannot be repeated. */
function inheritedRetries({ retries }: WrittenTraffic, methods: readonly string[] = []): WrittenTraffic['retries'] {
  return methods.every((method) => idempotentMethods.has(method)) ? retries : undefined;
}

/** A route that says it is tried again and names a method that must not be would promise what is not kept. */
export function checkRetries(
  { routes }: { readonly routes: readonly CallRoute[] },
  at: Position,
  problems: Problems,
): void {
  for (const { methods = [], retries } of routes) {
    const unsafe = retries === undefined ? [] : methods.filter((method) => !idempotentMethods.has(method));
    for (const method of unsafe)
      problems.add(at, `\`retries\` are for idempotent methods, and ${method} is none (RFC 9110 9.2.2)`);
  }
}

function timeoutsOf({ head, idle, total }: WrittenTimes): CallTimeouts {
  return {
    ...(head === undefined ? {} : { headMs: head }),
    ...(idle === undefined ? {} : { idleMs: idle }),
    ...(total === undefined ? {} : { totalMs: total }),
  };
}

function retriesOf({ attempts, on }: NonNullable<WrittenTraffic['retries']>): CallRetries {
  return { attempts, onReset: on.includes('reset'), statuses: on.filter((entry) => entry !== 'reset') };
}
