import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { Refusal } from '#net/accept.ts';
import type { Endpoint } from '#net/endpoints.ts';
import { RefusalLog } from '#net/refusal-log.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { monotonicOffsetMs } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Watch } from '#runtime/watch.ts';
import { TokenVerifier } from '#tokens/token-verifier.ts';
import { Balancers } from '#traffic/balancers.ts';
import { SharedRateLimiter } from '#traffic/shared-rate-limiter.ts';
import type { ServerExchange } from '#wire/exchange.ts';
import { defaultPoolLimits } from '#wire/limits.ts';
import { listenPlain, type PlainListener } from '#wire/listen-plain.ts';
import { MeshUpstreams } from '#wire/mesh-upstreams.ts';
import { OpenTunnels } from '#wire/open-tunnels.ts';
import { type ServeOptions, type ServerConnection, serveConnection } from '#wire/server-connection.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import type { OutboundEntry } from './chosen-call.ts';
import { ConnectionMetrics } from './connection-metrics.ts';
import { DecisionLog } from './decision-log.ts';
import { HandleTable } from './handles.ts';
import { Inbound } from './inbound.ts';
import { foreignTo, type InboundPeer } from './inbound-peer.ts';
import { InterceptedCalls } from './intercepted-calls.ts';
import type { ListenAddress, ListenerSpec, OpenListener } from './listener-spec.ts';
import { listenMesh, type MeshListener } from './mesh-listener.ts';
import { observeTables } from './observe-tables.ts';
import { OpenListeners } from './open-listeners.ts';
import { Outbound } from './outbound.ts';
import { PlaintextConnections } from './plaintext-connections.ts';
import { RequestMetrics } from './request-metrics.ts';
import { RequestSpans } from './request-span.ts';
import type { RequestThreadOptions } from './request-thread-options.ts';
import { RuleBudgets } from './rule-budgets.ts';
import { RuleEnds } from './rule-ends.ts';

/** Sums over threads mean something, of `handles` excepted: threads tell each other theirs. */
export type ThreadSummary = Readonly<
  Record<'handles' | 'verifiedTokens' | 'inboundConnections' | 'outboundConnections' | 'tunnels', number>
>;

/**
 * Everything of one thread that touches requests. What it decides by is looked up in watches for each of them, so a change of policy, keys,
 * endpoints or identity closes nothing.
 */
export class RequestThread implements AsyncDisposable {
  readonly #options: RequestThreadOptions;
  readonly #stack = new AsyncDisposableStack();
  readonly #handles: HandleTable;
  readonly #verifier: TokenVerifier;
  readonly #balancers: Balancers<SpiffeId, Endpoint>;
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  readonly #refusals: RefusalLog;
  readonly #listeners = new OpenListeners();
  readonly #tunnels = new Set<ServerConnection>();
  readonly #opaque: OpenTunnels;
  readonly #plaintext: PlaintextConnections;
  readonly #connections: ConnectionMetrics;
  #identity: Watch<TlsIdentity> | undefined;
  #mesh: MeshUpstreams | undefined;

  constructor(options: RequestThreadOptions) {
    this.#options = options;
    const { clock, random, policy, limits, logger, metrics } = options;
    const sharedAs = options.hasOthers ? options.instance : undefined;
    this.#handles = this.#stack.use(new HandleTable({ clock, random, sharedAs }));
    this.#verifier = this.#stack.use(new TokenVerifier({ ...options, audience: options.trustDomain }));
    this.#opaque = new OpenTunnels(clock);
    this.#refusals = this.#stack.use(new RefusalLog({ clock, logger }));
    const decisions = decisionLog(options);
    const onInternalError = (error: unknown) => this.#onInternalError(error);
    const client = this.#stack.use(new UpstreamPool({ clock, limits: limits.responses, pool: limits.pool }));
    this.#connections = this.#connectionMetrics(client);
    const makesSpans = options.spans !== undefined;
    const shared = {
      ...options,
      makesSpans,
      handles: this.#handles,
      tunnels: this.#opaque,
      decisions,
      onInternalError,
    };
    const { connectMs = defaultPoolLimits.connectMs } = limits.pool;
    this.#inbound = new Inbound({
      ...shared,
      tokens: this.#verifier,
      client,
      connectMs,
      budgets: budgetsOf(options),
      onApplicationConnected: (socket, protocol) =>
        this.#connections.opened(socket, 'inbound', 'application', protocol),
    });
    this.#balancers = new Balancers({ instances: options.endpoints, clock, random, locality: options.locality });
    this.#outbound = new Outbound({
      ...shared,
      balancers: this.#balancers,
      mesh: () => this.#mesh,
      serveTunnel: (exchange, authority) => this.#serveTunnel(exchange, authority),
    });
    this.#stack.use(this.#opaque);
    this.#plaintext = this.#plaintextConnections();
    const ends = this.#stack.use(new RuleEnds(clock, () => this.#decideAgain()));
    ends.watch(policy.current?.snapshot);
    this.#stack.defer(
      policy.subscribe((current) => {
        this.#decideAgain();
        ends.watch(current?.snapshot);
      }),
    );
    observeTables(metrics, {
      handles: this.#handles,
      tokens: this.#verifier,
      balancers: this.#balancers,
      decisions: options.decisions,
      edges: decisions.edges,
      plaintext: this.#plaintext,
      peerConnections: () => this.#listeners.sum('mesh', 'connections'),
    });
  }

  /** Numbers for people. */
  get summary(): ThreadSummary {
    return {
      handles: this.#handles.size,
      verifiedTokens: this.#verifier.size,
      inboundConnections: this.#listeners.sum('mesh', 'connections'),
      outboundConnections: this.#listeners.sum('application', 'connections'),
      tunnels: this.#tunnels.size + this.#opaque.size,
    };
  }

  /** Who this sidecar is from now on: before, no call of the application goes out, and no `mesh` listener opens. */
  identify(identity: Watch<TlsIdentity>): void {
    const { clock, limits } = this.#options;
    this.#identity = identity;
    this.#mesh = this.#stack.use(
      new MeshUpstreams({
        identity,
        clock,
        limits: limits.responses,
        poolLimits: limits.pool,
        onDialed: (dial) => this.#connections.dialed(dial),
      }),
    );
  }

  /** @throws CellmeshError `port_taken`, `start_failed`, `listen_failed` */
  async listen(spec: ListenerSpec): Promise<OpenListener> {
    return this.#listeners.add(await this.#listenFor(spec), spec.tag === 'mesh' ? 'mesh' : 'application');
  }

  /** What is said inside a CONNECT ends as connections do: after what is in flight. */
  drainTunnels(): void {
    for (const tunnel of this.#tunnels) tunnel.drain();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const tunnel of this.#tunnels) tunnel.destroy();
    await this.#listeners[Symbol.asyncDispose]();
    await this.#stack.disposeAsync();
  }

  #listenFor(spec: ListenerSpec): Promise<MeshListener | PlainListener | InterceptedCalls> {
    switch (spec.tag) {
      case 'mesh':
        return this.#listenMesh(spec);
      case 'proxy':
        return this.#listenLocal(spec, { tag: 'proxy' });
      case 'callee':
        return this.#listenLocal(spec, { tag: 'listen', callee: spec.callee }, spec.isOpaque ? 'opaque' : 'detected');
      case 'intercepted':
        return this.#listenIntercepted(spec);
    }
  }

  #listenMesh({ host, port }: ListenAddress): Promise<MeshListener> {
    const { limits, hasOthers } = this.#options;
    return listenMesh(this.#inbound.handle, {
      ...this.#serveOptions((error, peer: InboundPeer) => this.#inbound.refused(error, peer)),
      host,
      port,
      identity: this.#identity!,
      reusePort: hasOthers,
      plaintext: this.#plaintext,
      listenLimits: { connectionsMax: limits.connectionsMax },
      onPeerRefused: (refusal) => this.#onPeerRefused(refusal),
      onPeerAccepted: (socket, protocol, peer, ms) => this.#connections.accepted(socket, protocol, peer.id, ms),
    });
  }

  #plaintextConnections(): PlaintextConnections {
    const { policy, interception } = this.#options;
    return new PlaintextConnections(this.#inbound.handle, {
      ...this.#serveOptions((error, peer: InboundPeer) => this.#inbound.refused(error, peer)),
      policy,
      destinationOf: interception?.destinationOf,
      onConnection: (socket, protocol) => this.#connections.opened(socket, 'inbound', 'plaintext', protocol),
    });
  }

  /** What is open was decided by what is no more. */
  #decideAgain(): void {
    this.#opaque.decideAgain();
    this.#plaintext.decideAgain();
  }

  #listenIntercepted({ port }: ListenAddress): Promise<InterceptedCalls> {
    const { interception, limits, policy, endpoints, logger, hasOthers } = this.#options;
    return InterceptedCalls.open(this.#outbound.handle, {
      ...this.#serveOptions<OutboundEntry>((error) => this.#outbound.refused(error)),
      interception: { ...interception!, port },
      policy,
      endpoints,
      logger,
      reusePort: hasOthers,
      connectionsMax: limits.connectionsMax,
      onConnection: (socket, spoken) => this.#connections.opened(socket, 'outbound', 'application', spoken),
    });
  }

  #listenLocal(
    { host, port }: ListenAddress,
    entry: OutboundEntry,
    protocol: 'detected' | 'opaque' = 'detected',
  ): Promise<PlainListener> {
    return listenPlain(this.#outbound.handle, {
      ...this.#serveOptions((error) => this.#outbound.refused(error)),
      host,
      port,
      protocol,
      reusePort: this.#options.hasOthers,
      connectionsMax: this.#options.limits.connectionsMax,
      contextOf: () => entry,
      onConnection: (socket, spoken) => this.#connections.opened(socket, 'outbound', 'application', spoken),
    });
  }

  #serveTunnel(exchange: ServerExchange<OutboundEntry>, authority: string): void {
    const onClose = () => void this.#tunnels.delete(connection);
    const options = { ...this.#serveOptions((error) => this.#outbound.refused(error)), onClose };
    const entry: OutboundEntry = { tag: 'tunnel', authority };
    const connection: ServerConnection = serveConnection(
      exchange.acceptTunnel(),
      entry,
      this.#outbound.handle,
      options,
    );
    this.#tunnels.add(connection);
  }

  #serveOptions<Context>(onRefused: NonNullable<ServeOptions<Context>['onRefused']>): ServeOptions<Context> {
    const { clock, limits } = this.#options;
    return {
      clock,
      limits: limits.requests,
      timeouts: limits.timeouts,
      onRefused,
      onHandlerError: (error) => this.#onInternalError(error),
    };
  }

  #connectionMetrics(client: UpstreamPool): ConnectionMetrics {
    const streams = [
      { direction: 'inbound', side: 'mesh', streams: () => this.#listeners.sum('mesh', 'streams') },
      { direction: 'inbound', side: 'plaintext', streams: () => this.#plaintext.streams },
      { direction: 'inbound', side: 'application', streams: () => client.streams },
      { direction: 'outbound', side: 'application', streams: () => this.#listeners.sum('application', 'streams') },
      { direction: 'outbound', side: 'mesh', streams: () => this.#mesh?.pool.streams ?? 0 },
    ] as const;
    return new ConnectionMetrics(this.#options.metrics, streams, foreignTo(this.#options));
  }

  #onPeerRefused(refusal: Refusal): void {
    this.#connections.refused(refusal);
    this.#refusals.record(refusal);
  }

  #onInternalError(error: unknown): void {
    this.#options.logger.error('a request met an error in the sidecar itself', { reason: messageOf(error), error });
  }
}

function decisionLog({ decisions, spans, metrics, ...options }: RequestThreadOptions): DecisionLog {
  return new DecisionLog({
    ...options,
    sinks: decisions,
    metrics: new RequestMetrics(metrics, foreignTo(options)),
    spans: spans && new RequestSpans(spans, options.clock),
  });
}

function budgetsOf({ budgetMemory: memory, clock }: RequestThreadOptions): RuleBudgets {
  return new RuleBudgets(new SharedRateLimiter({ memory, clock, offsetMs: monotonicOffsetMs() }));
}
