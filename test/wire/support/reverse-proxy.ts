import { type Clock, systemClock } from '#runtime/clock.ts';
import { connectPlain } from '#wire/connect-plain.ts';
import type { ExchangeOutcome } from '#wire/exchange.ts';
import { fieldLine } from '#wire/field-lines.ts';
import { fieldSet } from '#wire/field-names.ts';
import { forward } from '#wire/forward.ts';
import type { HttpLimits, HttpTimeouts, PoolLimits } from '#wire/limits.ts';
import { listenPlain, type PlainListener } from '#wire/listen-plain.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import type { WireError } from '#wire/wire-error.ts';

export interface ReverseProxyOptions {
  readonly backendPort: number;
  readonly clock?: Clock;
  readonly limits?: Partial<HttpLimits>;
  readonly timeouts?: Partial<HttpTimeouts>;
  readonly poolLimits?: Partial<PoolLimits>;
  readonly connectionsMax?: number;
}

export interface ReverseProxy extends AsyncDisposable {
  readonly port: number;
  readonly listener: PlainListener;
  readonly pool: UpstreamPool;
  readonly outcomes: ExchangeOutcome[];
  readonly refused: WireError[];
}

/** What no client may hand to the backend: a sidecar adds its own after these are gone. */
const stripped = fieldSet('cellmesh-*', '*_*', 'x-forwarded-client-cert');

/** A reverse proxy in few lines: the model for whoever builds on wire. */
export async function startReverseProxy(options: ReverseProxyOptions): Promise<ReverseProxy> {
  const { backendPort, clock = systemClock, limits = {}, timeouts = {}, poolLimits = {} } = options;
  const outcomes: ExchangeOutcome[] = [];
  const refused: WireError[] = [];
  const pool = new UpstreamPool({ clock, pool: poolLimits });
  const backend = {
    key: `127.0.0.1:${backendPort}`,
    connect: (signal: AbortSignal) => connectPlain('127.0.0.1', backendPort, signal),
  };
  const listener = await listenPlain<string>(
    (exchange) => {
      exchange.endListener = { onEnd: (outcome) => outcomes.push(outcome) };
      forward(exchange, {
        client: pool,
        upstream: backend,
        target: exchange.request.path,
        request: { drop: stripped, append: fieldLine('cellmesh-caller', exchange.context) },
        editResponse: () => ({ drop: stripped, append: fieldLine('via', '1.1 cellmesh') }),
      });
    },
    {
      host: '127.0.0.1',
      port: 0,
      clock,
      limits,
      timeouts,
      contextOf: () => 'spiffe://cell-1.cellmesh.localhost/ns/messaging/sa/api',
      onRefused: (error) => void refused.push(error),
      ...(options.connectionsMax === undefined ? {} : { connectionsMax: options.connectionsMax }),
    },
  );
  return {
    port: listener.address.port,
    listener,
    pool,
    outcomes,
    refused,
    async [Symbol.asyncDispose]() {
      await listener.close(0);
      await pool[Symbol.asyncDispose]();
    },
  };
}
