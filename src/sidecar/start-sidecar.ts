import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { refuseTwoKindsOfEvidence } from '#api/evidence.ts';
import { type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import { DecisionRing, readDecisionRing } from '#feeds/decision-ring.ts';
import { decisionSinks } from '#feeds/decision-sinks.ts';
import { OtlpCollector } from '#feeds/otlp-collector.ts';
import { SpanExporter } from '#feeds/span-exporter.ts';
import { listenAddress } from '#net/listen-address.ts';
import { openOriginalDestination } from '#net/original-destination.ts';
import type { Clock } from '#runtime/clock.ts';
import { startHealthServer } from '#runtime/health-server.ts';
import { Lifecycle } from '#runtime/lifecycle.ts';
import type { LocalServer } from '#runtime/local-server.ts';
import type { Logger } from '#runtime/logger.ts';
import { Metrics } from '#runtime/metrics.ts';
import type { Random } from '#runtime/random.ts';
import { wireLimitsOf } from '#wire/limit-settings.ts';
import { startAdminSocket } from './admin-socket.ts';
import { CandidateTally } from './candidate-tally.ts';
import { DataPlane } from './data-plane.ts';
import { Drain } from './drain.ts';
import type { Interception } from './intercepted-calls.ts';
import { Membership } from './membership.ts';
import { applicationProbes } from './probes/application-probes.ts';
import { Readiness } from './readiness.ts';
import type { SidecarConfig } from './sidecar-config.ts';
import { observeState, summaryOf } from './sidecar-report.ts';
import { SidecarState } from './sidecar-state.ts';

interface SidecarSurroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Where the access log goes when it is on. */
  readonly accessLog?: Writable;
}

interface SidecarPorts {
  /** Undefined until there is an SVID. */
  readonly inbound: number | undefined;
  readonly outbound: number | undefined;
  readonly health: number | undefined;
}

/** A running sidecar. Disposing it drains and stops. */
export interface Sidecar extends AsyncDisposable {
  readonly id: SpiffeId;
  /** Begins the ids of its decisions. */
  readonly instance: string;
  readonly lifecycle: Lifecycle;
  readonly ports: SidecarPorts;
  /** Reasons why it must not get traffic; empty when it may. */
  notReady(): readonly string[];
  /** Instances of callees that calls can go to. */
  knownInstances(): number;
}

const instanceDigits = 6;

/**
 * Starts one sidecar. It resolves when its ports are open, not when it is ready: a first join needs the control plane, and until
 * then `notReady` says what is missing.
 * @throws CellmeshError `config_invalid`, `port_taken`, `file_unreadable`, `trust_bundle_invalid`, `start_failed`
 */
export async function startSidecar(config: SidecarConfig, surroundings: SidecarSurroundings): Promise<Sidecar> {
  refuseTwoKindsOfEvidence(config);
  const [inbound, health] = [await listenAddress(config.inbound), await listenAddress(config.health)];
  const sidecar = new RunningSidecar({ ...config, inbound, health }, surroundings);
  try {
    await sidecar.start();
    return sidecar;
  } catch (error) {
    await sidecar[Symbol.asyncDispose]();
    throw error;
  }
}

class RunningSidecar implements Sidecar {
  readonly id: SpiffeId;
  readonly instance: string;
  readonly lifecycle: Lifecycle;
  readonly #config: SidecarConfig;
  readonly #surroundings: SidecarSurroundings;
  readonly #metrics = new Metrics();
  readonly #candidates = new CandidateTally();
  readonly #state: SidecarState;
  readonly #readiness: Readiness;
  readonly #membership: Membership;
  readonly #drain: Drain;
  #ring: DecisionRing | undefined;
  #health: LocalServer | undefined;
  #admin: LocalServer | undefined;
  #spans: SpanExporter | undefined;
  #dataPlane: DataPlane | undefined;
  /** Clock.monotonic() at which draining is over. */
  #drainEnd = 0;

  constructor(config: SidecarConfig, given: SidecarSurroundings) {
    const { trustDomain, namespace, serviceAccount } = config;
    this.id = workloadId(trustDomain, namespace, serviceAccount);
    this.instance = instanceName(serviceAccount, given.random);
    const surroundings = { ...given, logger: given.logger.with({ instance: this.instance }) };
    this.#config = config;
    this.#surroundings = surroundings;
    this.lifecycle = new Lifecycle(surroundings.logger);
    const state = new SidecarState(this.id);
    this.#state = state;
    this.#readiness = new Readiness({ ...surroundings, config, state, lifecycle: this.lifecycle });
    this.#membership = new Membership({
      ...surroundings,
      config,
      state,
      id: this.id,
      instance: this.instance,
      openInbound: async (identity) => {
        await this.#dataPlane!.openInbound(identity.tls);
        return this.#dataPlane!.inboundPort!;
      },
      ring: () => this.#ring!,
      candidates: this.#candidates,
      onIdentity: (missing) => this.#readiness.setProblems('svid', missing === undefined ? [] : [missing]),
      onEntered: (feed) => this.#readiness.watch(feed, this.#membership.identity!),
    });
    this.#drain = new Drain({
      ...surroundings,
      config,
      state,
      lifecycle: this.lifecycle,
      membership: this.#membership,
      dataPlane: () => this.#dataPlane,
    });
  }

  get ports(): SidecarPorts {
    return {
      inbound: this.#dataPlane?.inboundPort,
      outbound: this.#dataPlane?.outboundPort,
      health: this.#health?.port,
    };
  }

  notReady(): readonly string[] {
    return this.#readiness.notReady();
  }

  knownInstances(): number {
    return [...this.#state.endpoints.current.values()].flat().length;
  }

  /** In this order; stopped in the opposite one. */
  async start(): Promise<void> {
    const { lifecycle } = this;
    lifecycle.add({
      name: 'decisions',
      start: () => this.#openRing(),
      stop: () => end(this.#ring),
    });
    // Stopped after what makes spans, so that the last ones go out.
    lifecycle.add({ name: 'spans', start: () => this.#openSpans(), stop: () => end(this.#spans) });
    lifecycle.add({
      name: 'health',
      start: () => this.#openHealth(),
      stop: () => end(this.#health),
    });
    lifecycle.add({ name: 'admin', start: () => this.#openAdmin(), stop: () => end(this.#admin) });
    lifecycle.add({
      name: 'requests',
      start: () => this.#openDataPlane(),
      drain: () => this.#drain.outbound(Math.max(0, this.#drainEnd - this.#surroundings.clock.monotonic())),
      stop: () => end(this.#dataPlane),
    });
    lifecycle.add({
      name: 'membership',
      start: () => this.#membership.start(),
      drain: () => this.#drainInbound(),
      stop: () => end(this.#membership),
    });
    await lifecycle.start();
    observeState(this.#metrics, this.#state, this.#membership, this.#candidates);
    this.#surroundings.logger.info('sidecar started', { spiffeId: this.id, ...this.ports });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lifecycle.stop();
    // What had begun to start when another part failed is not the lifecycle's to stop.
    await end(this.#dataPlane);
    this.#readiness[Symbol.dispose]();
  }

  async #openRing(): Promise<void> {
    const { logger } = this.#surroundings;
    this.#ring = await DecisionRing.open({ directory: this.#ringDirectory, clock: this.#surroundings.clock, logger });
  }

  async #openSpans(): Promise<void> {
    const { otlpEndpoint, namespace, serviceAccount, cellId } = this.#config;
    if (otlpEndpoint === undefined) return;
    this.#spans = new SpanExporter({
      ...this.#surroundings,
      collector: await OtlpCollector.open({ url: otlpEndpoint, clock: this.#surroundings.clock }),
      resource: {
        'service.name': serviceAccount,
        'service.namespace': namespace,
        'service.instance.id': this.instance,
        'cellmesh.cell.id': cellId,
      },
      metrics: this.#metrics,
    });
  }

  async #openHealth(): Promise<void> {
    const { health, probes, application } = this.#config;
    this.#health = await startHealthServer({
      ...health,
      notReady: () => this.notReady(),
      notStarted: () => this.#readiness.notStarted(),
      metrics: this.#metrics,
      ...(probes && { routes: applicationProbes({ probes, host: application, clock: this.#surroundings.clock }) }),
    });
  }

  async #openAdmin(): Promise<void> {
    const { adminSocket, stateDir } = this.#config;
    this.#admin = await startAdminSocket({
      path: adminSocket ?? join(stateDir, 'admin', 'sidecar.sock'),
      state: () => summaryOf(this, this.#state, this.#membership, this.#dataPlane),
      drain: () => this.#drain.inbound(),
      decision: async (id) => {
        await this.#dataPlane?.flushDecisions();
        await this.#ring?.flush();
        const records = await readDecisionRing(this.#ringDirectory);
        return records.findLast((record) => (record as { id?: unknown }).id === id);
      },
    });
  }

  async #openDataPlane(): Promise<void> {
    const { application, interceptedPort } = this.#config;
    const { clock, random, accessLog } = this.#surroundings;
    this.#dataPlane = new DataPlane({
      ...this.#surroundings,
      ...this.#config,
      policy: this.#state.policy,
      keySet: this.#state.keySet,
      endpoints: this.#state.endpoints,
      instance: this.instance,
      applicationHost: application,
      interception: interceptedPort === undefined ? undefined : await interceptionAt(interceptedPort),
      limits: wireLimitsOf(this.#config),
      isStale: (nowMs) => this.#membership.feed?.isStaleAt(nowMs) ?? false,
      isLeaving: () => this.#drain.hasBegun,
      askForKey: (iss, kid) => this.#membership.askForKey(iss, kid),
      decisions: decisionSinks({
        ...this.#config,
        clock,
        random,
        ring: this.#ring!,
        stdout: accessLog,
        report: (line, kind) => this.#membership.reporter?.report(line, kind),
      }),
      candidates: this.#candidates,
      spans: this.#spans,
      onListenProblems: (problems) => this.#readiness.setProblems('calls_listen', problems),
      metrics: this.#metrics,
    });
    await this.#dataPlane.openOutbound();
  }

  /** Both sides together have the time of `drain`. */
  async #drainInbound(): Promise<void> {
    const { settle, drain } = this.#config;
    this.#drainEnd = this.#surroundings.clock.monotonic() + settle + drain;
    await this.#drain.inbound();
  }

  get #ringDirectory(): string {
    return join(this.#config.stateDir, 'decisions');
  }
}

async function interceptionAt(port: number): Promise<Interception> {
  return { port, destinationOf: await openOriginalDestination() };
}

async function end(owned: AsyncDisposable | undefined): Promise<void> {
  await owned?.[Symbol.asyncDispose]();
}

/** `api-7k2m9q`: which service, and which start of it. */
function instanceName(serviceAccount: string, random: Random): string {
  const digits = Array.from({ length: instanceDigits }, () => Math.floor(random.fraction() * 36).toString(36));
  return `${serviceAccount.slice(0, 32)}-${digits.join('')}`;
}
