import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { type DialOptions, dialMtls } from '#net/dial.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Watch } from '#runtime/watch.ts';
import { connectPlain } from './connect-plain.ts';
import type { Protocol, Upstream } from './exchange.ts';
import type { HttpLimits, PoolLimits } from './limits.ts';
import { UpstreamPool } from './upstream-pool.ts';

/** What sidecars speak among each other, and with foreign peers that offer nothing better. */
export const meshProtocols: readonly Protocol[] = ['h2', 'http/1.1'];

/** Shorter than the 75 s after which a listener of ours closes an idle connection, so that the side that sends closes first (PAINS.md P4). */
const meshIdleMs = 60_000;

interface MeshUpstreamsOptions {
  readonly identity: Watch<TlsIdentity>;
  readonly clock: Clock;
  /** For the responses. */
  readonly limits?: Partial<HttpLimits>;
  readonly poolLimits?: Partial<PoolLimits>;
  readonly onDialed?: (dial: Dial) => void;
}

/** An attempt to connect. */
export interface Dial {
  readonly expect: SpiffeId;
  /** From its start to the end of the handshake, or to the failure. */
  readonly durationMs: number;
  readonly result:
    | { readonly tag: 'open'; readonly socket: TLSSocket }
    | { readonly tag: 'failed'; readonly error: unknown };
}

/** The same object each time for the same instance. */
interface InstanceAddress {
  readonly host: string;
  readonly port: number;
}

interface KnownUpstream {
  readonly identity: TlsIdentity;
  readonly expect: SpiffeId;
  readonly connectMs: number | undefined;
  readonly upstream: Upstream;
}

/** Pools of connections to the sidecars of other services. */
export class MeshUpstreams implements AsyncDisposable {
  readonly pool: UpstreamPool;
  readonly #options: MeshUpstreamsOptions;
  /** What an instance was asked for last: to name it anew for each request would cost more than to choose it. */
  readonly #known = new WeakMap<InstanceAddress, KnownUpstream>();

  constructor(options: MeshUpstreamsOptions) {
    this.#options = options;
    this.pool = new UpstreamPool({
      clock: options.clock,
      ...(options.limits && { limits: options.limits }),
      pool: { idleMs: meshIdleMs, ...options.poolLimits },
    });
  }

  /**
   * The inbound port of `expect` at an instance of it. The key names our own certificate too: connections that a former one opened finish
   * what they have begun and take no new request.
   */
  to(expect: SpiffeId, instance: InstanceAddress, connectMs?: number): Upstream {
    const { current } = this.#options.identity;
    const known = this.#known.get(instance);
    if (known?.identity === current && known.expect === expect && known.connectMs === connectMs) return known.upstream;
    const upstream = this.#upstreamAt(expect, instance, connectMs);
    this.#known.set(instance, { identity: current, expect, connectMs, upstream });
    return upstream;
  }

  #upstreamAt(expect: SpiffeId, { host, port }: InstanceAddress, connectMs: number | undefined): Upstream {
    const { identity } = this.#options;
    const key = `${expect} ${host} ${port} ${identity.current.svid.chain[0]!.serial}`;
    return {
      key,
      protocol: 'negotiated',
      ...(connectMs !== undefined && { connectMs }),
      connect: (signal) => this.#dial({ host, port, expect, signal, onDrain: () => this.pool.evict(key) }),
    };
  }

  async #dial(
    to: Pick<DialOptions, 'host' | 'port' | 'signal' | 'onDrain'> & { expect: SpiffeId },
  ): Promise<TLSSocket> {
    const { identity, clock, onDialed } = this.#options;
    const startedAt = clock.monotonic();
    const tell = (result: Dial['result']) =>
      onDialed?.({ expect: to.expect, durationMs: clock.monotonic() - startedAt, result });
    try {
      const { socket } = await dialMtls({ ...to, identity, alpn: meshProtocols, clock });
      tell({ tag: 'open', socket });
      return socket;
    } catch (error) {
      tell({ tag: 'failed', error });
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool[Symbol.asyncDispose]();
  }
}

type OnConnected = (socket: Socket, protocol: Protocol | 'tcp') => void;

/** The application itself, on loopback; HTTP/2 with prior knowledge where it serves gRPC. */
export function applicationUpstream(
  host: string,
  port: number,
  protocol: Protocol = 'http/1.1',
  onConnected?: OnConnected,
): Upstream {
  const connect = async (signal: AbortSignal) => {
    const socket = await connectPlain(host, port, signal);
    onConnected?.(socket, protocol);
    return socket;
  };
  return { key: `${host} ${port} ${protocol}`, protocol, connect };
}

/** The application behind a port of opaque connections, each side of which closes by itself. */
export function opaqueApplication(host: string, port: number, onConnected?: OnConnected): Upstream {
  const connect = async (signal: AbortSignal) => {
    const socket = await connectPlain(host, port, signal, true);
    onConnected?.(socket, 'tcp');
    return socket;
  };
  return { key: `${host} ${port}`, connect };
}
