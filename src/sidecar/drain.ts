import { type Clock, sleep } from '#runtime/clock.ts';
import type { Lifecycle } from '#runtime/lifecycle.ts';
import type { DataPlane } from './data-plane.ts';
import { isListening } from './is-listening.ts';
import type { Membership } from './membership.ts';
import type { SidecarConfig } from './sidecar-config.ts';
import type { SidecarState } from './sidecar-state.ts';

interface DrainOptions {
  readonly config: SidecarConfig;
  readonly state: SidecarState;
  readonly lifecycle: Lifecycle;
  readonly membership: Membership;
  readonly dataPlane: () => DataPlane | undefined;
  readonly clock: Clock;
}

const lookEveryMs = 200;

/**
 * How a sidecar goes without a request that fails (PAINS.md P3). A native sidecar is told so by a preStop hook, while its application still runs,
 * and gets SIGTERM when that has ended: `inbound` comes first, `outbound` much later. Elsewhere SIGTERM is all there is, and does both.
 */
export class Drain {
  readonly #options: DrainOptions;
  #inbound: Promise<void> | undefined;

  constructor(options: DrainOptions) {
    this.#options = options;
  }

  get hasBegun(): boolean {
    return this.#inbound !== undefined;
  }

  /** Not ready any more, out of what others choose from, and, once they know, no more requests of the mesh. Safe to call twice. */
  inbound(): Promise<void> {
    this.#inbound ??= this.#drainInbound();
    return this.#inbound;
  }

  /** Calls go out for as long as there is an application to make them, within `graceMs`. */
  async outbound(graceMs: number): Promise<void> {
    const { clock, dataPlane } = this.#options;
    const end = clock.monotonic() + graceMs;
    while (clock.monotonic() < end && !(await this.#isApplicationGone())) await sleep(clock, lookEveryMs);
    await dataPlane()?.drainOutbound(Math.max(0, end - clock.monotonic()));
  }

  async #drainInbound(): Promise<void> {
    const { lifecycle, membership, dataPlane, clock, config } = this.#options;
    lifecycle.setCondition('draining', 'this instance goes away');
    membership.leave();
    dataPlane()?.leave();
    await sleep(clock, config.settle);
    await dataPlane()?.drainInbound(config.drain);
  }

  /** It holds no connection to its sidecar and listens no more. */
  async #isApplicationGone(): Promise<boolean> {
    const { dataPlane, state, config, clock } = this.#options;
    const { outboundConnections = 0 } = (await dataPlane()?.summary()) ?? {};
    if (outboundConnections > 0) return false;
    const ports = state.policy.current?.snapshot.service.ports ?? [];
    const open = await Promise.all(ports.map(({ port }) => isListening(config.application, port, clock)));
    return !open.includes(true);
  }
}
