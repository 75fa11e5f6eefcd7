import { type Config, duration, integer, optional, type Settings } from '#runtime/config.ts';
import {
  connectionsMaxDefault,
  defaultHttpLimits,
  defaultHttpTimeouts,
  defaultPoolLimits,
  type HttpLimits,
  type HttpTimeouts,
  headBytesCeiling,
  type PoolLimits,
} from './limits.ts';

const countMax = 1_000_000;
/** The side that sends must close first (PAINS.md P4); `MeshUpstreams` keeps connections for 60 s. */
const idleMsMin = 61_000;
const http = defaultHttpLimits;
const pool = defaultPoolLimits;
const timeouts = defaultHttpTimeouts;

/** The limits that an operator may have a reason to move, for every process that serves HTTP; all others are constants of `limits.ts`. */
export const limitSettings = {
  connectionsMax: integer('Connections of one listener; one more is closed at once.', {
    min: 1,
    max: countMax,
    fallback: connectionsMaxDefault,
  }),
  headBytesMax: integer('Bytes of a request or response head (431, 502).', {
    min: 1024,
    max: headBytesCeiling,
    fallback: http.headBytesMax,
  }),
  fieldsMax: integer('Fields of a head (431, 502).', { min: 16, max: 4096, fallback: http.fieldsMax }),
  lineBytesMax: integer('Bytes of one line of a head (414, 431, 502).', {
    min: 256,
    max: headBytesCeiling,
    fallback: http.lineBytesMax,
  }),
  bodyBytesMax: optional(
    integer('Bytes of a request body (413); default: no limit.', {
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
    }),
  ),
  headTimeout: duration('From the first byte of a request head to its last (408).', timeouts.headMs),
  bodyTimeout: duration('Between two pieces of a request body (408).', timeouts.bodyIdleMs),
  idleTimeout: duration(
    'A connection without a request is closed; not below 61s, since peers keep theirs for 60s.',
    timeouts.idleMs,
    idleMsMin,
  ),
  inFlightMax: integer('Requests at once with one upstream; others wait.', {
    min: 1,
    max: countMax,
    fallback: pool.inFlightMax,
  }),
  queueMax: integer('Requests that wait for one upstream; one more gets 503.', {
    min: 0,
    max: countMax,
    fallback: pool.queueMax,
  }),
  queueTimeout: duration('How long one waits (503).', pool.queueMs),
  connectTimeout: duration('For an upstream to accept a connection (504).', pool.connectMs),
  responseTimeout: duration('From the end of a request to the head of its response (504).', pool.responseHeadMs),
} as const satisfies Settings;

export interface WireLimits {
  readonly connectionsMax: number;
  readonly requests: Partial<HttpLimits>;
  readonly responses: Partial<HttpLimits>;
  readonly timeouts: Partial<HttpTimeouts>;
  readonly pool: Partial<PoolLimits>;
}

export function wireLimitsOf(config: Config<typeof limitSettings>): WireLimits {
  const { connectionsMax, headBytesMax, fieldsMax, lineBytesMax, bodyBytesMax, inFlightMax, queueMax } = config;
  const heads = { headBytesMax, fieldsMax, lineBytesMax };
  return {
    connectionsMax,
    requests: { ...heads, ...(bodyBytesMax !== undefined && { bodyBytesMax }) },
    responses: heads,
    timeouts: { headMs: config.headTimeout, bodyIdleMs: config.bodyTimeout, idleMs: config.idleTimeout },
    pool: {
      inFlightMax,
      queueMax,
      queueMs: config.queueTimeout,
      connectMs: config.connectTimeout,
      responseHeadMs: config.responseTimeout,
    },
  };
}
