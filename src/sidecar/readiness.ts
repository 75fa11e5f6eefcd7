import type { FeedClient } from '#feeds/feed-client.ts';
import type { OwnIdentity } from '#net/own-identity.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Lifecycle } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/logger.ts';
import { OpenPortCheck, ownAddresses } from './open-port-check.ts';
import type { SidecarConfig } from './sidecar-config.ts';
import { neededTypes, type SidecarState } from './sidecar-state.ts';

interface ReadinessOptions {
  readonly config: SidecarConfig;
  readonly state: SidecarState;
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Whether this sidecar may get traffic, and what is missing when not, a line each. */
export class Readiness implements Disposable {
  readonly #options: ReadinessOptions;
  readonly #unsubscribe: (() => void)[] = [];
  #portCheck: OpenPortCheck | undefined;
  #checkedPorts = '';
  #hasStarted = false;
  #feed: FeedClient | undefined;
  #identity: OwnIdentity | undefined;

  constructor(options: ReadinessOptions) {
    this.#options = options;
  }

  /** Conditions, and what time alone brings about. */
  notReady(): readonly string[] {
    const { lifecycle, clock } = this.#options;
    const notAfter = this.#identity?.tls.current.svid.chain[0]?.notAfter ?? Number.POSITIVE_INFINITY;
    return [
      ...lifecycle.notReady(),
      ...(notAfter <= clock.now() ? ['svid: it has expired, and the control plane has not renewed it'] : []),
      ...(this.#feed?.isStale ? ['state_stale: the control plane has been away for longer than its word lasts'] : []),
    ];
  }

  /**
   * What an application that starts has to wait for: SVID, bundles, keys, policy, and where those are whom it calls, or that nobody is there. Nothing that it could be the cause of itself, nor what an end
   * brings: Kubernetes would start a sidecar anew that is as it should be.
   */
  notStarted(): readonly string[] {
    if (this.#hasStarted) return [];
    const needed = ['svid', ...neededTypes];
    const reasons = this.#options.lifecycle.notReady();
    const missing = reasons.filter((one) => one === 'starting' || needed.some((name) => one.startsWith(`${name}:`)));
    const problems = [...missing, ...this.#untold()];
    this.#hasStarted = problems.length === 0;
    return problems;
  }

  /** Endpoints follow the policy in the same stream: a call in between would find nobody. */
  #untold(): readonly string[] {
    const { policy, endpoints } = this.#options.state;
    const calls = policy.current?.snapshot.calls ?? [];
    const untold = calls.filter(({ id }) => !endpoints.current.has(id)).map(({ name }) => name);
    return untold.length === 0 ? [] : [`endpoints: the control plane has not told yet where ${untold.join(', ')} is`];
  }

  /** Sets `name` while there are problems. */
  setProblems(name: string, problems: readonly string[]): void {
    const { lifecycle } = this.#options;
    if (problems.length === 0) lifecycle.clearCondition(name);
    else lifecycle.setCondition(name, problems.join('; '));
  }

  /** From now on readiness waits for what is needed and not known yet. */
  watch(feed: FeedClient, identity: OwnIdentity): void {
    const { state, lifecycle } = this.#options;
    this.#feed = feed;
    this.#identity = identity;
    for (const type of neededTypes) {
      if (!feed.holds(type)) lifecycle.setCondition(type, 'the control plane has not sent any yet');
    }
    const sources = { bundles: identity.tls, keys: state.keySet, policy: state.policy } as const;
    for (const [name, watch] of Object.entries(sources)) {
      this.#unsubscribe.push(watch.subscribe(() => lifecycle.clearCondition(name)));
    }
    this.#unsubscribe.push(state.policy.subscribe(() => this.#checkPorts()));
    this.#checkPorts();
  }

  [Symbol.dispose](): void {
    for (const end of this.#unsubscribe) end();
    this.#portCheck?.[Symbol.dispose]();
  }

  /** The ports to look at are those of the policy; a new policy with the same ports changes nothing. */
  #checkPorts(): void {
    const { state, config, clock, logger, lifecycle } = this.#options;
    const ports = state.policy.current?.snapshot.service.ports.map(({ port }) => port);
    if (ports === undefined || config.openPortVouched || this.#checkedPorts === ports.join()) return;
    this.#checkedPorts = ports.join();
    this.#portCheck?.[Symbol.dispose]();
    lifecycle.setCondition('inbound_open', "the application's ports have not been looked at yet");
    const addresses = config.podAddresses ?? ownAddresses();
    const applicationHost = config.application;
    const onResult = (open: readonly string[]) => this.setProblems('inbound_open', open.map(describeOpen));
    this.#portCheck = new OpenPortCheck({ addresses, applicationHost, ports, clock, logger, onResult });
    void this.#portCheck.start();
  }
}

function describeOpen(address: string): string {
  return `the application answers at ${address} past its sidecar; let it listen on loopback only, or set --open-port-vouched where a NetworkPolicy closes it`;
}
