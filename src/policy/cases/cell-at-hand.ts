import { type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import type { CellDocument } from '../cell-document.ts';
import { compileCell } from '../compile.ts';
import { CellPolicies } from '../plan/cell-policies.ts';
import { readManifests } from '../read-manifests.ts';
import type { PolicySnapshot } from '../snapshot.ts';
import { type WorkloadName, workloadText } from '../workload-name.ts';

/** Which rules decide, of services that have a candidate: those in force, or the candidate's for everybody. */
type WhichRules = 'in-force' | 'candidate';

/** Manifests that were read: what every sidecar and router of their cell would decide by, and what they name. */
export class CellAtHand extends CellPolicies {
  readonly cell: CellDocument;

  /**
   * @param manifests their text by the name of their file
   * @throws CellmeshError `document_invalid` with everything that is wrong
   */
  static read(manifests: ReadonlyMap<string, string>, which: WhichRules = 'in-force'): CellAtHand {
    return new CellAtHand(manifests, which);
  }

  private constructor(manifests: ReadonlyMap<string, string>, which: WhichRules) {
    const { cell, policies } = readManifests(manifests);
    const { version, snapshots, routes } = compileCell(cell, policies);
    const chosen = new Map([...snapshots].map(([id, snapshot]) => [id, only(snapshot, which)]));
    super({ version, routes, snapshots: chosen });
    this.cell = cell;
  }

  get services(): readonly string[] {
    return [...this.snapshots.values()].map(({ service }) => service.name);
  }

  idOf({ namespace, serviceAccount }: WorkloadName): SpiffeId {
    return workloadId(this.cell.trustDomain, namespace, serviceAccount);
  }

  /** Of a workload of the cell. */
  hasManifest(workload: WorkloadName): boolean {
    return this.snapshotOf(workloadText(workload)) !== undefined;
  }
}

/** A service decides by one version of its rules. */
function only({ candidate, ...snapshot }: PolicySnapshot, which: WhichRules): PolicySnapshot {
  if (candidate === undefined || which === 'in-force') return snapshot;
  return { ...snapshot, mode: candidate.mode, rules: candidate.rules };
}
