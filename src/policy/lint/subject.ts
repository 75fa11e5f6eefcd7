import type { SpiffeId } from '#certs/spiffe-id.ts';
import { workloadId } from '#certs/spiffe-id.ts';
import type { Position, Problem } from '#runtime/yaml-document.ts';
import type { CellDocument } from '../cell-document.ts';
import { type CompiledCell, compileCell } from '../compile.ts';
import type { AllowRule, ServicePolicy } from '../manifest.ts';
import { ReachableScopes } from '../reachable-scopes.ts';
import type { Located } from '../shapes.ts';
import type { PolicySnapshot, SnapshotRule } from '../snapshot.ts';
import type { WorkloadName } from '../workload-name.ts';
import { type LintRuleName, lintRules, type Severity } from './lint-rules.ts';

/** One thing that lint has to say, and where. */
export interface Finding extends Problem {
  readonly rule: LintRuleName;
  readonly severity: Severity;
}

export type Report = (rule: LintRuleName, policy: { readonly file: string }, at: Position, message: string) => void;

export function findingOf(rule: LintRuleName, problem: Problem): Finding {
  return { rule, severity: lintRules[rule].severity, ...problem };
}

/** A rule as it is written, and as it is decided by. */
export interface RuleSubject extends Located<AllowRule> {
  readonly compiled: SnapshotRule;
}

/** One version of a service's rules: that in force, or its candidate. */
export interface VersionSubject {
  readonly policy: ServicePolicy;
  readonly snapshot: PolicySnapshot;
  readonly rules: readonly RuleSubject[];
}

/** A whole cell without contradictions. */
export interface Subject {
  readonly cell: CellDocument;
  readonly policies: readonly ServicePolicy[];
  readonly versions: readonly VersionSubject[];
  readonly compiled: CompiledCell;
  readonly reachable: ReachableScopes;
  readonly policyOf: (id: SpiffeId) => ServicePolicy | undefined;
  readonly idOf: (workload: WorkloadName) => SpiffeId;
}

/** @throws CellmeshError `document_invalid` */
export function subjectOf(cell: CellDocument, policies: readonly ServicePolicy[]): Subject {
  const compiled = compileCell(cell, policies);
  const idOf = ({ namespace, serviceAccount }: WorkloadName) => workloadId(cell.trustDomain, namespace, serviceAccount);
  const inForce = new Map(policies.filter(({ rollout }) => rollout === undefined).map((one) => [idOf(one), one]));
  const versions = policies.map((policy): VersionSubject => {
    const snapshot = compiled.snapshots.get(idOf(policy))!;
    const rules = policy.rollout === undefined ? snapshot.rules : snapshot.candidate!.rules;
    return { policy, snapshot, rules: policy.allow.map((rule, at) => ({ ...rule, compiled: rules[at]! })) };
  });
  return {
    cell,
    policies,
    versions,
    compiled,
    reachable: new ReachableScopes(cell, compiled),
    policyOf: (id) => inForce.get(id),
    idOf,
  };
}
