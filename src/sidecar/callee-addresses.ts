import { lookup } from 'node:dns/promises';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { EndpointsByService } from '#net/endpoints.ts';
import type { Destination } from '#net/original-destination.ts';
import type { ServicePort } from '#policy/service-port.ts';
import type { SnapshotCall } from '#policy/snapshot.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import type { Watch } from '#runtime/watch.ts';
import type { ActivePolicy } from './active-policy.ts';

/** The addresses of a host, in any order. Rejects when there are none. */
type Resolve = (host: string) => Promise<readonly string[]>;

export interface CalleeAddressesOptions {
  readonly policy: Watch<ActivePolicy | undefined>;
  readonly endpoints: Watch<EndpointsByService>;
  readonly clock: Clock;
  /** Default: the system's resolver. */
  readonly resolve?: Resolve | undefined;
}

interface Callee {
  readonly id: SpiffeId;
  readonly port: ServicePort;
}

/** Names of services rarely change their address, and resolvers keep them for as long. */
const resolveEveryMs = 30_000;

/**
 * Which declared callee an address belongs to: by what the hosts of its manifest resolve to, and by where its instances are. What was known
 * stays while a resolver does not answer.
 */
export class CalleeAddresses implements AsyncDisposable {
  readonly #options: CalleeAddressesOptions;
  readonly #resolve: Resolve;
  readonly #hosts = new Map<string, readonly string[]>();
  readonly #unsubscribe: () => void;
  #timer: Scheduled | undefined;
  #turn: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(options: CalleeAddressesOptions) {
    this.#options = options;
    this.#resolve = options.resolve ?? systemResolve;
    this.#unsubscribe = options.policy.subscribe(() => this.refresh());
    this.refresh();
  }

  /** Resolves when the hosts of the policy in force have been asked for. */
  get settled(): Promise<void> {
    return this.#turn;
  }

  refresh(): void {
    this.#turn = this.#turn.then(() => this.#resolveAll());
  }

  /** The callee at `destination`, and which of its ports is meant; undefined when no declared call goes there. */
  find({ host, port }: Destination): Callee | undefined {
    const calls = this.#options.policy.current?.snapshot.calls ?? [];
    const there = calls.filter((call) => this.#isAt(call, host));
    for (const { id, ports } of there) {
      const declared = ports.find((entry) => entry.port === port);
      if (declared !== undefined) return { id, port: declared };
    }
    // A Service may have a port of its own in front of the only one of the application.
    const [only] = there;
    return there.length === 1 && only?.ports.length === 1 ? { id: only.id, port: only.ports[0]! } : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.#unsubscribe();
    this.#timer?.cancel();
    await this.#turn;
  }

  #isAt({ id, hosts }: SnapshotCall, address: string): boolean {
    const instances = this.#options.endpoints.current.get(id) ?? [];
    return (
      instances.some((instance) => instance.host === address) ||
      hosts.some((host) => this.#hosts.get(host)?.includes(address))
    );
  }

  async #resolveAll(): Promise<void> {
    if (this.#isOver) return;
    const hosts = new Set(this.#options.policy.current?.snapshot.calls.flatMap((call) => call.hosts) ?? []);
    for (const host of this.#hosts.keys()) if (!hosts.has(host)) this.#hosts.delete(host);
    const resolveOne = async (host: string) => {
      const addresses = await this.#resolve(host).catch(() => undefined);
      if (addresses !== undefined) this.#hosts.set(host, addresses);
    };
    await Promise.all([...hosts].map(resolveOne));
    this.#timer?.cancel();
    if (!this.#isOver) this.#timer = this.#options.clock.schedule(resolveEveryMs, () => this.refresh());
  }
}

async function systemResolve(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}
