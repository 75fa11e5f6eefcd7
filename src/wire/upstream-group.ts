import type { Duplex } from 'node:stream';
import type { Clock } from '#runtime/clock.ts';
import type { ClientExchange, ClientExchangeListener, Upstream } from './exchange.ts';
import type { HttpLimits, PoolLimits } from './limits.ts';
import type { OutgoingRequest } from './message.ts';

export interface ClientOptions {
  readonly clock: Clock;
  /** For the responses. */
  readonly limits: HttpLimits;
  readonly pool: PoolLimits;
  readonly writeStallMs: number;
}

/** Connections and waiting requests of one upstream key. */
export interface UpstreamGroup {
  readonly inFlight: number;
  /** Connections without a request. */
  readonly idle: number;
  readonly queued: number;
  /** HTTP/2 streams that are open. */
  readonly streams: number;
  submit(upstream: Upstream, request: OutgoingRequest, listener: ClientExchangeListener): ClientExchange;
  /** A connection that is open already. */
  adopt(socket: Duplex): void;
  /** Idle connections close now, the others after what they carry. Nothing new comes to this group. */
  retire(): void;
  /** What is in flight fails. */
  destroy(): void;
}
