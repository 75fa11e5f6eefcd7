import type { EndpointsByService } from '#net/endpoints.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Watch } from '#runtime/watch.ts';
import type { ExchangeHandler, ServerExchange } from '#wire/exchange.ts';
import { listenPlain, type PlainListener, type PlainListenOptions } from '#wire/listen-plain.ts';
import { type ServeOptions, type ServerConnection, serveConnection } from '#wire/server-connection.ts';
import type { ActivePolicy } from './active-policy.ts';
import { CalleeListeners } from './callee-listeners.ts';
import type { OutboundEntry } from './chosen-call.ts';
import { InterceptedCalls, type Interception } from './intercepted-calls.ts';

export interface ListenSetting {
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
}

interface ApplicationListenersOptions {
  readonly handle: ExchangeHandler<OutboundEntry>;
  readonly serve: ServeOptions<OutboundEntry>;
  /** Of each listener. */
  readonly connectionsMax: number;
  readonly outbound: ListenSetting;
  /** Absent where no packet filter redirects anything. */
  readonly interception?: Interception | undefined;
  readonly policy: Watch<ActivePolicy | undefined>;
  readonly endpoints: Watch<EndpointsByService>;
  /** Loopback ports of callees that could not be opened; empty when all are open. */
  readonly onListenProblems: (problems: readonly string[]) => void;
  readonly onConnection: NonNullable<PlainListenOptions<OutboundEntry>['onConnection']>;
  readonly logger: Logger;
}

/** For requests in flight on a loopback port that a new policy no longer wants. */
const unwantedGraceMs = 10_000;

/** Everywhere that this pod's application is listened to: the shared port, those of single callees, and what a packet filter redirects. */
export class ApplicationListeners implements AsyncDisposable {
  readonly #options: ApplicationListenersOptions;
  readonly #callees: CalleeListeners;
  readonly #tunnels = new Set<ServerConnection>();
  #shared: PlainListener | undefined;
  #intercepted: InterceptedCalls | undefined;

  constructor(options: ApplicationListenersOptions) {
    this.#options = options;
    this.#callees = new CalleeListeners({
      open: ({ callee, isOpaque, ...where }) => {
        return this.#listen(where, { tag: 'listen', callee }, isOpaque ? 'opaque' : 'detected');
      },
      onProblems: options.onListenProblems,
      graceMs: unwantedGraceMs,
    });
  }

  /** The ports in use; undefined for what is not open yet. */
  get port(): number | undefined {
    return this.#shared?.address.port;
  }

  get interceptedPort(): number | undefined {
    return this.#intercepted?.port;
  }

  get connections(): number {
    return this.#all.reduce((sum, { connections }) => sum + connections, 0);
  }

  /** HTTP/2 streams that are open. */
  get streams(): number {
    return this.#all.reduce((sum, { streams }) => sum + streams, 0);
  }

  /** Insides of CONNECT that are served. */
  get tunnels(): number {
    return this.#tunnels.size;
  }

  async open(): Promise<void> {
    const { outbound, policy } = this.#options;
    this.#shared = await this.#listen(outbound, { tag: 'proxy' }, 'detected');
    await this.#openIntercepted();
    await this.apply(policy.current);
  }

  /** Opens and closes the ports of single callees, as the policy has them. */
  async apply(policy: ActivePolicy | undefined): Promise<void> {
    if (policy !== undefined) await this.#callees.apply(policy.snapshot.calls);
  }

  /** Serves what is said inside a CONNECT. */
  serveTunnel(exchange: ServerExchange<OutboundEntry>, authority: string): void {
    const { handle, serve } = this.#options;
    const onClose = () => void this.#tunnels.delete(connection);
    const entry: OutboundEntry = { tag: 'tunnel', authority };
    const connection: ServerConnection = serveConnection(exchange.acceptTunnel(), entry, handle, { ...serve, onClose });
    this.#tunnels.add(connection);
  }

  /** Accepts nothing more, and lets what is in flight end. */
  async close(graceMs: number): Promise<void> {
    for (const tunnel of this.#tunnels) tunnel.drain();
    await Promise.all(this.#all.map((listener) => listener.close(graceMs)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const tunnel of this.#tunnels) tunnel.destroy();
    await Promise.all(this.#all.map((listener) => listener[Symbol.asyncDispose]()));
  }

  get #all() {
    return [this.#callees, this.#shared, this.#intercepted].filter((listener) => listener !== undefined);
  }

  async #openIntercepted(): Promise<void> {
    const { handle, serve, interception, ...options } = this.#options;
    if (interception === undefined) return;
    this.#intercepted = await InterceptedCalls.open(handle, { ...serve, ...options, interception });
  }

  #listen(where: ListenSetting, entry: OutboundEntry, protocol: 'detected' | 'opaque'): Promise<PlainListener> {
    const { handle, serve, connectionsMax, onConnection } = this.#options;
    return listenPlain(handle, {
      ...serve,
      ...where,
      protocol,
      connectionsMax,
      onConnection,
      contextOf: () => entry,
    });
  }
}
