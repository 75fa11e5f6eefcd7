import type { TlsIdentity } from '#net/tls-identity.ts';
import type { Watch } from '#runtime/watch.ts';
import { sharedRateLimiterMemory } from '#traffic/shared-rate-limiter.ts';
import type { ActivePolicy } from './active-policy.ts';
import { CalleeListeners } from './callee-listeners.ts';
import type { ListenAddress, ListenerSpec, OpenListener } from './listener-spec.ts';
import { RequestThread, type ThreadSummary } from './request-thread.ts';
import type { RequestThreadOptions } from './request-thread-options.ts';
import { WorkerThreads } from './worker-threads.ts';

interface DataPlaneOptions extends Omit<RequestThreadOptions, 'hasOthers' | 'budgetMemory'> {
  readonly inbound: ListenAddress;
  readonly outbound: ListenAddress;
  /** Threads that serve requests, this one among them. */
  readonly workers: number;
  /** Loopback ports of callees that could not be opened; empty when all are open. */
  readonly onListenProblems: (problems: readonly string[]) => void;
}

/** For requests in flight on a loopback port that a new policy no longer wants. */
const unwantedGraceMs = 10_000;
/** The first of the pair that takes what is redirected. */
const interceptionHost = '127.0.0.1';

/** The ports of a sidecar, and the threads behind them. A change of policy closes none that is still wanted. */
export class DataPlane implements AsyncDisposable {
  readonly #options: DataPlaneOptions;
  readonly #stack = new AsyncDisposableStack();
  readonly #thread: RequestThread;
  readonly #others: WorkerThreads | undefined;
  readonly #callees: CalleeListeners;
  #mesh: OpenListener | undefined;
  #proxy: OpenListener | undefined;
  #intercepted: OpenListener | undefined;

  constructor(options: DataPlaneOptions) {
    const { workers, policy, metrics, onListenProblems } = options;
    this.#options = options;
    const budgetMemory = sharedRateLimiterMemory(options.random);
    this.#thread = this.#stack.use(new RequestThread({ ...options, budgetMemory, hasOthers: workers > 1 }));
    if (workers > 1) {
      const others = this.#stack.use(new WorkerThreads({ ...options, budgetMemory }, workers - 1));
      metrics.merge(() => others.metrics());
      this.#others = others;
    }
    const open = (spec: ListenerSpec) => this.#listen(spec);
    this.#callees = this.#stack.use(
      new CalleeListeners({ open, onProblems: onListenProblems, graceMs: unwantedGraceMs }),
    );
    this.#stack.defer(policy.subscribe((current) => void this.#applyListeners(current)));
  }

  /** The ports in use; undefined for what is not open yet. */
  get inboundPort(): number | undefined {
    return this.#mesh?.port;
  }

  get interceptedPort(): number | undefined {
    return this.#intercepted?.port;
  }

  get outboundPort(): number | undefined {
    return this.#proxy?.port;
  }

  /** Numbers for people. */
  async summary(): Promise<ThreadSummary & { readonly threads: number }> {
    const all = [this.#thread.summary, ...((await this.#others?.summaries()) ?? [])];
    const sum = (name: keyof ThreadSummary) => all.reduce((total, one) => total + one[name], 0);
    return {
      threads: all.length,
      handles: Math.max(...all.map(({ handles }) => handles)),
      verifiedTokens: sum('verifiedTokens'),
      inboundConnections: sum('inboundConnections'),
      outboundConnections: sum('outboundConnections'),
      tunnels: sum('tunnels'),
    };
  }

  /** Takes calls of the application, which get 503 until policy and identity are there: nobody's start depends on ours. */
  async openOutbound(): Promise<void> {
    const { outbound, interception, policy } = this.#options;
    this.#proxy = await this.#listen({ tag: 'proxy', ...outbound });
    if (interception !== undefined) {
      this.#intercepted = await this.#listen({ tag: 'intercepted', host: interceptionHost, port: interception.port });
    }
    await this.#applyListeners(policy.current);
  }

  /** Takes requests of the mesh, and lets calls of the application out. */
  async openInbound(identity: Watch<TlsIdentity>): Promise<void> {
    this.#thread.identify(identity);
    await this.#others?.identify(identity);
    this.#mesh = await this.#listen({ tag: 'mesh', ...this.#options.inbound });
  }

  /** Every decision that was made is where records go. */
  async flushDecisions(): Promise<void> {
    await this.#others?.flushDecisions();
  }

  /** What the application does not take from now on is another instance's. */
  leave(): void {
    this.#others?.leave();
  }

  /** Accepts nothing more of the mesh and lets what is in flight end. The application may need others for that: its calls go on. */
  async drainInbound(graceMs: number): Promise<void> {
    await this.#mesh?.close(graceMs);
  }

  async drainOutbound(graceMs: number): Promise<void> {
    this.#thread.drainTunnels();
    await this.#others?.drainTunnels();
    const listeners = [this.#callees, this.#proxy, this.#intercepted];
    await Promise.all(listeners.map((listener) => listener?.close(graceMs)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  /** Opens a port on every thread. The first takes it; the others listen where it does. */
  async #listen(spec: ListenerSpec): Promise<OpenListener> {
    return this.#others === undefined ? this.#thread.listen(spec) : this.#others.listenWith(this.#thread, spec);
  }

  async #applyListeners(policy: ActivePolicy | undefined): Promise<void> {
    if (policy !== undefined) await this.#callees.apply(policy.snapshot.calls);
  }
}
