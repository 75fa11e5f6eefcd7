import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { CompiledCell } from '../compile.ts';
import { InboundPolicy } from '../decide-inbound.ts';
import { OutboundPolicy } from '../decide-outbound.ts';
import type { RoutesDocument } from '../routes.ts';
import type { PolicySnapshot, SnapshotCall } from '../snapshot.ts';

type Snapshots = Pick<CompiledCell, 'version' | 'snapshots' | 'routes'>;

/** The manifests of a cell, all services of it ready to decide; each is made ready when it is asked for first. */
export class CellPolicies {
  readonly version: string;
  readonly routes: RoutesDocument;
  readonly snapshots: ReadonlyMap<SpiffeId, PolicySnapshot>;
  readonly #byName: ReadonlyMap<string, PolicySnapshot>;
  readonly #inbound = new Map<string, InboundPolicy>();
  readonly #calls = new Map<SpiffeId, ReadonlyMap<SpiffeId, SnapshotCall>>();
  readonly #outbound = new Map<string, OutboundPolicy>();

  constructor({ version, snapshots, routes }: Snapshots) {
    this.version = version;
    this.routes = routes;
    this.snapshots = snapshots;
    this.#byName = new Map([...snapshots.values()].map((snapshot) => [snapshot.service.name, snapshot]));
  }

  /** @param service `namespace/service-account` */
  inbound(service: string): InboundPolicy | undefined {
    return this.#ready(this.#inbound, service, (snapshot) => new InboundPolicy(snapshot));
  }

  /** @param service `namespace/service-account` of who calls */
  outbound(service: string): OutboundPolicy | undefined {
    return this.#ready(this.#outbound, service, (snapshot) => new OutboundPolicy(snapshot));
  }

  /** The declared call of one service to another. */
  call(from: SpiffeId, to: SpiffeId): SnapshotCall | undefined {
    let calls = this.#calls.get(from);
    if (calls === undefined) {
      calls = new Map(this.snapshots.get(from)?.calls.map((call) => [call.id, call]));
      if (this.snapshots.has(from)) this.#calls.set(from, calls);
    }
    return calls.get(to);
  }

  snapshotOf(service: string): PolicySnapshot | undefined {
    return this.#byName.get(service);
  }

  #ready<T>(made: Map<string, T>, service: string, make: (snapshot: PolicySnapshot) => T): T | undefined {
    const found = made.get(service);
    const snapshot = found === undefined ? this.#byName.get(service) : undefined;
    if (snapshot === undefined) return found;
    const policy = make(snapshot);
    made.set(service, policy);
    return policy;
  }
}

/** Whether calls go out without a customer, whatever the application says. */
export function carriesNothing({ token, carry }: SnapshotCall): boolean {
  return token === 'none' || carry?.length === 0;
}
