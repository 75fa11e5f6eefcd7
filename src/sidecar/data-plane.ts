import type { SpiffeId, TrustDomain } from '#certs/spiffe-id.ts';
import type { DecisionSinks } from '#feeds/decision-sinks.ts';
import type { Refusal } from '#net/accept.ts';
import type { Endpoint, EndpointsByService } from '#net/endpoints.ts';
import { RefusalLog } from '#net/refusal-log.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import type { Clock } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { Random } from '#runtime/random.ts';
import type { Watch } from '#runtime/watch.ts';
import type { CellId } from '#tokens/cell-id.ts';
import type { KeySet } from '#tokens/key-set.ts';
import { TokenVerifier } from '#tokens/token-verifier.ts';
import { Balancers } from '#traffic/balancers.ts';
import type { WireLimits } from '#wire/limit-settings.ts';
import { defaultPoolLimits } from '#wire/limits.ts';
import { MeshUpstreams } from '#wire/mesh-upstreams.ts';
import { OpenTunnels } from '#wire/open-tunnels.ts';
import type { ServeOptions } from '#wire/server-connection.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import type { ActivePolicy } from './active-policy.ts';
import { ApplicationListeners, type ListenSetting } from './application-listeners.ts';
import { ConnectionMetrics } from './connection-metrics.ts';
import { DecisionLog } from './decision-log.ts';
import { HandleTable } from './handles.ts';
import { Inbound } from './inbound.ts';
import type { Interception } from './intercepted-calls.ts';
import { listenMesh, type MeshListener } from './mesh-listener.ts';
import { observeTables } from './observe-tables.ts';
import { Outbound } from './outbound.ts';
import { RequestMetrics } from './request-metrics.ts';
import { RequestSpans, type SpanSink } from './request-span.ts';

interface DataPlaneOptions {
  /** Begins the ids of decisions. */
  readonly instance: string;
  readonly cellId: CellId;
  readonly trustDomain: TrustDomain;
  readonly globalTrustDomain: TrustDomain;
  readonly inbound: ListenSetting;
  readonly outbound: ListenSetting;
  /** Absent where no packet filter redirects anything. */
  readonly interception?: Interception | undefined;
  readonly applicationHost: string;
  readonly tracingRatio: number;
  /** Where this sidecar runs. */
  readonly locality: string;
  readonly limits: WireLimits;
  readonly policy: Watch<ActivePolicy | undefined>;
  readonly keySet: Watch<KeySet>;
  readonly endpoints: Watch<EndpointsByService>;
  /** What is known is older than it may be. */
  readonly isStale: () => boolean;
  readonly askForKey?: (iss: string, kid: string) => Promise<void>;
  /** Where finished records go. */
  readonly decisions: DecisionSinks;
  /** Where spans of sampled requests go. Default: none are made. */
  readonly spans?: SpanSink | undefined;
  /** Loopback ports of callees that could not be opened; empty when all are open. */
  readonly onListenProblems: (problems: readonly string[]) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * Everything of a sidecar that touches requests. What it decides by is looked up in watches for each of them, so a change of
 * policy, keys, endpoints or identity closes nothing.
 */
export class DataPlane implements AsyncDisposable {
  readonly #options: DataPlaneOptions;
  readonly #stack = new AsyncDisposableStack();
  readonly #handles: HandleTable;
  readonly #verifier: TokenVerifier;
  readonly #balancers: Balancers<SpiffeId, Endpoint>;
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  readonly #refusals: RefusalLog;
  readonly #application: ApplicationListeners;
  readonly #opaque: OpenTunnels;
  readonly #refusedConnections: { inc(): void };
  readonly #connections: ConnectionMetrics;
  #mesh: MeshUpstreams | undefined;
  #inboundListener: MeshListener | undefined;

  constructor(options: DataPlaneOptions) {
    this.#options = options;
    const { clock, random, policy, limits, logger, metrics } = options;
    this.#handles = this.#stack.use(new HandleTable({ clock, random }));
    this.#verifier = this.#stack.use(new TokenVerifier({ ...options, audience: options.trustDomain }));
    this.#opaque = new OpenTunnels(clock);
    this.#refusals = this.#stack.use(new RefusalLog({ clock, logger }));
    this.#refusedConnections = metrics.counter(
      'cellmesh_connections_refused_total',
      'Mesh connections that were refused in or right after the handshake.',
    );
    const decisions = decisionLog(options);
    const onInternalError = (error: unknown) => this.#onInternalError(error);
    const client = this.#stack.use(new UpstreamPool({ clock, limits: limits.responses, pool: limits.pool }));
    this.#connections = this.#connectionMetrics(client);
    const own = { handles: this.#handles, tunnels: this.#opaque, makesSpans: options.spans !== undefined };
    const shared = { ...options, ...own, decisions, onInternalError };
    const { connectMs = defaultPoolLimits.connectMs } = limits.pool;
    this.#inbound = new Inbound({
      ...shared,
      tokens: this.#verifier,
      client,
      connectMs,
      onApplicationConnected: (socket, protocol) =>
        this.#connections.opened(socket, 'inbound', 'application', protocol),
    });
    this.#balancers = new Balancers({ instances: options.endpoints, clock, random, locality: options.locality });
    this.#outbound = new Outbound({
      ...shared,
      balancers: this.#balancers,
      mesh: () => this.#mesh,
      serveTunnel: (exchange, authority) => this.#application.serveTunnel(exchange, authority),
    });
    this.#application = this.#stack.use(
      new ApplicationListeners({
        ...options,
        handle: this.#outbound.handle,
        serve: this.#serveOptions((error) => this.#outbound.refused(error)),
        connectionsMax: limits.connectionsMax,
        onConnection: (socket, protocol) => this.#connections.opened(socket, 'outbound', 'application', protocol),
      }),
    );
    this.#stack.use(this.#opaque);
    this.#stack.defer(
      policy.subscribe((current) => {
        this.#opaque.decideAgain();
        void this.#application.apply(current);
      }),
    );
    observeTables(metrics, {
      handles: this.#handles,
      tokens: this.#verifier,
      balancers: this.#balancers,
      decisions: options.decisions,
      peerConnections: () => this.#inboundListener?.connections ?? 0,
    });
  }

  /** The ports in use; undefined for what is not open yet. */
  get inboundPort(): number | undefined {
    return this.#inboundListener?.address.port;
  }

  get interceptedPort(): number | undefined {
    return this.#application.interceptedPort;
  }

  get outboundPort(): number | undefined {
    return this.#application.port;
  }

  /** Numbers for people. */
  get summary(): Readonly<Record<string, number>> {
    return {
      handles: this.#handles.size,
      verifiedTokens: this.#verifier.size,
      inboundConnections: this.#inboundListener?.connections ?? 0,
      outboundConnections: this.#application.connections,
      tunnels: this.#application.tunnels + this.#opaque.size,
    };
  }

  /** Takes calls of the application, which get 503 until policy and identity are there: nobody's start depends on ours. */
  async openOutbound(): Promise<void> {
    await this.#application.open();
  }

  /** Takes requests of the mesh, and lets calls of the application out. */
  async openInbound(identity: Watch<TlsIdentity>): Promise<void> {
    const { clock, inbound, limits } = this.#options;
    this.#mesh = this.#stack.use(
      new MeshUpstreams({
        identity,
        clock,
        limits: limits.responses,
        poolLimits: limits.pool,
        onDialed: (dial) => this.#connections.dialed(dial),
      }),
    );
    const listener = await listenMesh(this.#inbound.handle, {
      ...inbound,
      ...this.#serveOptions((error, peer) => this.#inbound.refused(error, peer)),
      identity,
      listenLimits: { connectionsMax: limits.connectionsMax },
      onPeerRefused: (refusal) => this.#onPeerRefused(refusal),
      onPeerAccepted: (socket, protocol, peer, ms) => this.#connections.accepted(socket, protocol, peer.id, ms),
    });
    this.#inboundListener = this.#stack.use(listener);
  }

  /** Connections of the application that are open. */
  get outboundConnections(): number {
    return this.#application.connections;
  }

  /** Accepts nothing more of the mesh and lets what is in flight end. The application may need others for that: its calls go on. */
  async drainInbound(graceMs: number): Promise<void> {
    await this.#inboundListener?.close(graceMs);
  }

  async drainOutbound(graceMs: number): Promise<void> {
    await this.#application.close(graceMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
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
    return new ConnectionMetrics(this.#options.metrics, [
      { direction: 'inbound', side: 'mesh', streams: () => this.#inboundListener?.streams ?? 0 },
      { direction: 'inbound', side: 'application', streams: () => client.streams },
      { direction: 'outbound', side: 'application', streams: () => this.#application.streams },
      { direction: 'outbound', side: 'mesh', streams: () => this.#mesh?.pool.streams ?? 0 },
    ]);
  }

  #onPeerRefused(refusal: Refusal): void {
    this.#refusedConnections.inc();
    this.#connections.refused(refusal);
    this.#refusals.record(refusal);
  }

  #onInternalError(error: unknown): void {
    this.#options.logger.error('a request met an error in the sidecar itself', { reason: messageOf(error), error });
  }
}

function decisionLog({ decisions, spans, metrics, ...options }: DataPlaneOptions): DecisionLog {
  return new DecisionLog({
    ...options,
    sinks: decisions,
    metrics: new RequestMetrics(metrics),
    spans: spans && new RequestSpans(spans, options.clock),
  });
}
