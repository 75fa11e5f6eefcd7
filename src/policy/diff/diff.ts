import { workloadId } from '#certs/spiffe-id.ts';
import type { CellDocument } from '../cell-document.ts';
import { compileCell } from '../compile.ts';
import type { ServicePolicy } from '../manifest.ts';
import { workloadText } from '../workload-name.ts';
import { cellChanges } from './cell-changes.ts';
import { added, type Change, removed } from './change.ts';
import { candidateChanges, candidateText, serviceChanges, serviceText, type Version } from './service-changes.ts';

/** All manifests of a cell. */
interface ManifestSet {
  readonly cell: CellDocument;
  readonly policies: readonly ServicePolicy[];
}

/** What changed of one document or the two of a service. */
export interface SubjectDiff {
  /** `cell`, `namespace/service-account`, or that with ` (candidate)`. */
  readonly subject: string;
  readonly changes: readonly Change[];
}

/**
 * What is not as it was: of the cell, of each service, of each candidate; nothing for what says the same.
 * @throws CellmeshError `document_invalid`: one of the two contradicts itself
 */
export function diff(before: ManifestSet, after: ManifestSet): readonly SubjectDiff[] {
  const [old, now] = [versionsOf(before), versionsOf(after)];
  const subjects = [...new Set([...old.keys(), ...now.keys()])].sort();
  const found = [
    { subject: 'cell', changes: cellChanges(before.cell, after.cell) },
    ...subjects.map((subject) => ({ subject, changes: versionChanges(old.get(subject), now.get(subject)) })),
  ];
  return found.filter(({ changes }) => changes.length > 0);
}

function versionsOf({ cell, policies }: ManifestSet): ReadonlyMap<string, Version> {
  const { snapshots } = compileCell(cell, policies);
  return new Map(
    policies.map((policy) => {
      const snapshot = snapshots.get(workloadId(cell.trustDomain, policy.namespace, policy.serviceAccount))!;
      const name = workloadText(policy);
      return [policy.rollout === undefined ? name : `${name} (candidate)`, { policy, snapshot }];
    }),
  );
}

function versionChanges(before: Version | undefined, after: Version | undefined): Change[] {
  const isCandidate = (before ?? after)!.policy.rollout !== undefined;
  const [what, textOf] = isCandidate ? (['candidate', candidateText] as const) : (['service', serviceText] as const);
  if (before === undefined) return [added(what, textOf(after!), isCandidate ? 'different' : 'wider')];
  if (after === undefined) return [removed(what, textOf(before), isCandidate ? 'different' : 'narrower')];
  return isCandidate ? candidateChanges(before, after) : serviceChanges(before, after);
}
