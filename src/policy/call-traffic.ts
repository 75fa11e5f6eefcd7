import { parseDuration } from '#runtime/duration.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { idempotentMethods } from '#runtime/idempotent-methods.ts';
import type { Position, Problems } from '#runtime/yaml-document.ts';
import type { PathPattern } from './path-pattern.ts';
import type { RouteMatch } from './rule-conditions.ts';
import {
  integer,
  list,
  object,
  oneOf,
  optional,
  parsed,
  required,
  type Shape,
  type ShapeValue,
  set,
} from './shapes.ts';

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
const time = parsed(parseTime, 'a duration', { pattern: '^\\d{1,9}(ms|s|m|h)$', maxLength: 11 });
const times = {
  head: optional(time, 'From the end of the request to the head of the response, e.g. 500ms.'),
  idle: optional(time, "Between two pieces of the response's body, e.g. 30s."),
  total: optional(time, 'Of all attempts together, to the end of the response; unlimited without it.'),
};
const retries = object({
  attempts: required(integer(2, 5), 'In all, the first included.'),
  retryOn: required(
    set(oneOf<'reset' | 502 | 503 | 504>('reset', 502, 503, 504), { min: 1, max: 4 }),
    'What is worth another attempt: `reset` (it broke before a response), and statuses.',
  ),
});
const retriesText = 'When a call of an idempotent method goes out again that the callee may have seen.';

const callTimes = object({ connect: optional(time, 'For a connection to one of its instances.'), ...times });

/** What a cell says once for every entry of `calls` that does not say it. */
export const callDefaults = object({
  timeouts: optional(callTimes, 'How long calls may take whose entry does not say it.'),
});

/** Fields of an entry of `calls`. `http` and `port` are read by the shapes of rules. */
export function trafficFields<P, H>(shapes: { readonly port: Shape<P>; readonly http: Shape<H> }) {
  const route = object({
    port: optional(shapes.port, 'Port of the callee; without it all of them.'),
    http: optional(shapes.http, 'Which requests; without it all of them.'),
    timeouts: optional(object(times), 'How long these calls may take.'),
    retries: optional(retries, retriesText),
  });
  return {
    timeouts: optional(callTimes, "How long a call may take; what is absent is the sidecar's own setting."),
    retries: optional(retries, retriesText),
    routes: optional(
      list(route, { max: 100 }),
      'Other time-outs and retries for some of the calls; the first that matches counts.',
    ),
  };
}

function parseTime(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined && ms >= 1 && ms <= timeMaxMs) return ms;
  const written = JSON.stringify(text.slice(0, 32));
  throw new CellmeshError('document_invalid', `${written} is no duration from 1ms to 1h; write 500ms, 30s or 5m`);
}

interface WrittenTimes {
  readonly head?: number;
  readonly idle?: number;
  readonly total?: number;
}

interface WrittenTraffic {
  readonly timeouts?: WrittenTimes;
  readonly retries?: { readonly attempts: number; readonly retryOn: readonly ('reset' | 502 | 503 | 504)[] };
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

/** What a cell says for calls that do not say it themselves. */
export interface CallDefaults {
  readonly connectMs?: number;
  readonly timeouts: CallTimeouts;
}

export function callDefaultsOf({ timeouts = {} }: ShapeValue<typeof callDefaults>): CallDefaults {
  const { connect, ...rest } = timeouts;
  return { ...(connect === undefined ? {} : { connectMs: connect }), timeouts: timeoutsOf(rest) };
}

/** The routes of a call with what its cell says for all. What none of them takes is what the cell says alone. */
export function routesWith({ timeouts }: CallDefaults, routes: readonly CallRoute[]): readonly CallRoute[] {
  if (Object.keys(timeouts).length === 0) return routes;
  const { port, methods, paths } = routes.at(-1) ?? { port: 0 };
  const takesAll = port === undefined && methods === undefined && paths === undefined;
  const all: readonly CallRoute[] = takesAll ? routes : [...routes, { timeouts: {} }];
  return all.map((route) => ({ ...route, timeouts: { ...timeouts, ...route.timeouts } }));
}

function timeoutsOf({ head, idle, total }: WrittenTimes): CallTimeouts {
  return {
    ...(head === undefined ? {} : { headMs: head }),
    ...(idle === undefined ? {} : { idleMs: idle }),
    ...(total === undefined ? {} : { totalMs: total }),
  };
}

function retriesOf({ attempts, retryOn }: NonNullable<WrittenTraffic['retries']>): CallRetries {
  return { attempts, onReset: retryOn.includes('reset'), statuses: retryOn.filter((entry) => entry !== 'reset') };
}
