import { workloadId } from '#certs/spiffe-id.ts';
import type { CellDocument } from '../cell-document.ts';
import { compileCell } from '../compile.ts';
import { InboundPolicy } from '../decide-inbound.ts';
import { OutboundPolicy } from '../decide-outbound.ts';
import { type WorkloadName, workloadText } from '../manifest.ts';
import { readManifests } from '../read-manifests.ts';
import type { RoutesDocument } from '../routes.ts';
import type { PolicySnapshot } from '../snapshot.ts';

/** Which rules decide, of services that have a candidate: those in force, or the candidate's for everybody. */
type WhichRules = 'in-force' | 'candidate';

/** What every sidecar and router of a cell would decide by, in one place. */
export class CellPolicies {
  readonly cell: CellDocument;
  /** Digest of the manifests. */
  readonly version: string;
  readonly routes: RoutesDocument;
  /** By `namespace/service-account`. */
  readonly snapshots: ReadonlyMap<string, PolicySnapshot>;
  readonly #inbound = new Map<string, InboundPolicy>();
  readonly #outbound = new Map<string, OutboundPolicy>();

  /**
   * @param manifests their text by the name of their file
   * @throws CellmeshError `document_invalid` with everything that is wrong
   */
  static read(manifests: ReadonlyMap<string, string>, which: WhichRules = 'in-force'): CellPolicies {
    return new CellPolicies(manifests, which);
  }

  private constructor(manifests: ReadonlyMap<string, string>, which: WhichRules) {
    const { cell, policies } = readManifests(manifests);
    const { version, snapshots, routes } = compileCell(cell, policies);
    this.cell = cell;
    this.version = version;
    this.routes = routes;
    this.snapshots = new Map([...snapshots.values()].map((snapshot) => [snapshot.service.name, only(snapshot, which)]));
  }

  /** Undefined for what has no manifest. */
  inbound(service: string): InboundPolicy | undefined {
    return kept(this.#inbound, service, this.snapshots.get(service), (snapshot) => new InboundPolicy(snapshot));
  }

  /** Undefined for what has no manifest. */
  outbound(service: string): OutboundPolicy | undefined {
    return kept(this.#outbound, service, this.snapshots.get(service), (snapshot) => new OutboundPolicy(snapshot));
  }

  idOf({ namespace, serviceAccount }: WorkloadName) {
    return workloadId(this.cell.trustDomain, namespace, serviceAccount);
  }

  /** Of a workload of the cell. */
  hasManifest(workload: WorkloadName): boolean {
    return this.snapshots.has(workloadText(workload));
  }
}

/** A service decides by one version of its rules. */
function only({ candidate, ...snapshot }: PolicySnapshot, which: WhichRules): PolicySnapshot {
  if (candidate === undefined || which === 'in-force') return snapshot;
  return { ...snapshot, mode: candidate.mode, rules: candidate.rules };
}

function kept<T>(
  known: Map<string, T>,
  service: string,
  snapshot: PolicySnapshot | undefined,
  make: (snapshot: PolicySnapshot) => T,
): T | undefined {
  const before = known.get(service);
  if (before !== undefined || snapshot === undefined) return before;
  const made = make(snapshot);
  known.set(service, made);
  return made;
}
