import type { Clock } from '#runtime/clock.ts';
import type { Client, ClientExchange, ClientExchangeListener, Upstream } from './exchange.ts';
import { groupFor } from './group-for.ts';
import { defaultHttpTimeouts, defaultPoolLimits, type HttpLimits, type PoolLimits } from './limits.ts';
import type { OutgoingRequest } from './message.ts';
import { resolveLimits } from './server-connection.ts';
import type { ClientOptions, UpstreamGroup } from './upstream-group.ts';

interface UpstreamPoolOptions {
  readonly clock: Clock;
  /** For the responses. */
  readonly limits?: Partial<HttpLimits>;
  readonly pool?: Partial<PoolLimits>;
  /** An upstream that takes none of the bytes that wait for it loses its connection. Milliseconds. */
  readonly writeStallMs?: number;
}

interface UpstreamLoad {
  readonly inFlight: number;
  readonly idle: number;
  readonly queued: number;
}

/** Connections to upstreams, kept and shared by `Upstream.key`. */
export class UpstreamPool implements Client, AsyncDisposable {
  readonly #groups = new Map<string, UpstreamGroup>();
  /** Those that finish what they carry. */
  readonly #retired = new Set<UpstreamGroup>();
  readonly #options: ClientOptions;

  constructor(options: UpstreamPoolOptions) {
    this.#options = {
      clock: options.clock,
      limits: resolveLimits(options.limits),
      pool: { ...defaultPoolLimits, ...options.pool },
      writeStallMs: options.writeStallMs ?? defaultHttpTimeouts.writeStallMs,
    };
  }

  request(upstream: Upstream, request: OutgoingRequest, listener: ClientExchangeListener): ClientExchange {
    return this.#groupOf(upstream).submit(upstream, request, listener);
  }

  load(key: string): UpstreamLoad {
    const group = this.#groups.get(key);
    return { inFlight: group?.inFlight ?? 0, idle: group?.idle ?? 0, queued: group?.queued ?? 0 };
  }

  get keys(): readonly string[] {
    return [...this.#groups.keys()];
  }

  /** HTTP/2 streams that are open. */
  get streams(): number {
    let streams = 0;
    for (const group of this.#groups.values()) streams += group.streams;
    for (const group of this.#retired) streams += group.streams;
    return streams;
  }

  /** For an upstream that has gone or must be verified anew: what is in flight ends, later requests open connections. */
  evict(key: string): void {
    const group = this.#groups.get(key);
    this.#groups.delete(key);
    if (group === undefined) return;
    this.#retired.add(group);
    group.retire();
  }

  /** Ends everything; what is in flight fails. */
  async [Symbol.asyncDispose](): Promise<void> {
    const groups = [...this.#groups.values(), ...this.#retired];
    this.#groups.clear();
    this.#retired.clear();
    for (const group of groups) group.destroy();
  }

  #groupOf(upstream: Upstream): UpstreamGroup {
    const { key } = upstream;
    let group = this.#groups.get(key);
    if (group === undefined) {
      const made: UpstreamGroup = groupFor(upstream, this.#options, () => {
        this.#retired.delete(made);
        if (this.#groups.get(key) === made) this.#groups.delete(key);
      });
      group = made;
      this.#groups.set(key, group);
    }
    return group;
  }
}
