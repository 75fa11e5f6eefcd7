import { valueAt } from '#kubernetes/json.ts';
import type { CellDocument } from '#policy/cell-document.ts';
import { type Contradiction, contradictions } from '#policy/contradictions.ts';
import { lintDocuments } from '#policy/lint/lint.ts';
import { lintRules } from '#policy/lint/lint-rules.ts';
import type { Finding } from '#policy/lint/subject.ts';
import type { ServicePolicy } from '#policy/manifest.ts';
import { readManifestObject } from '#policy/read-object.ts';
import type { Problem } from '#runtime/yaml-document.ts';
import type { AdmissionRequest, AdmissionResponse } from './admission-review.ts';
import type { Manifests } from './manifests.ts';

interface ManifestVerdict extends AdmissionResponse {
  readonly outcome: 'accepted' | 'unchanged' | 'refused';
}

/** As `cellmesh policy lint` without `--expires-within`. */
const expiresWithinMs = 30 * 24 * 3600_000;

const notKnown = 'the control plane has not read the manifests of the cluster yet: try again in a moment';

type Read = ReturnType<typeof readManifestObject>;

/**
 * What becomes of a ServicePolicy or a Cell that the schema has taken already: held against every other document that stands in the cluster. Only
 * what this change brings along is held against it: what was wrong before keeps nobody from mending something else.
 */
export function admitManifest(
  request: AdmissionRequest,
  manifests: Manifests | undefined,
  nowMs: number,
): ManifestVerdict {
  const { kind, operation, object, oldObject } = request;
  if (kind.group !== 'cellmesh.io' || (kind.kind !== 'ServicePolicy' && kind.kind !== 'Cell'))
    return refused(`cellmesh validates ServicePolicy and Cell, not ${kind.kind}`);
  if (operation === 'DELETE') return deleted(kind.kind, manifests);
  const isSame = operation === 'UPDATE' && isEqual(valueAt(object, 'spec'), valueAt(oldObject, 'spec'));
  if (isSame) return { outcome: 'unchanged', isAllowed: true };
  const read = readManifestObject(object);
  if (read.problems.length > 0)
    return refusedFor(
      read,
      read.problems.map((one) => sentenceOf(one, read)),
    );
  if (manifests === undefined) return refused(notKnown);
  if (operation === 'CREATE' && read.cell !== undefined && manifests.cell !== undefined)
    return refusedFor(read, [`there is a ${manifests.cell.file} already, and a cluster is one cell`]);
  return together(read, manifests, nowMs);
}

function together(read: Read, manifests: Manifests, nowMs: number): ManifestVerdict {
  const after = withCandidate(manifests, read);
  if (after.cell === undefined) {
    const warning = 'there is no Cell yet: what manifests say together is looked at when it is created';
    return { outcome: 'accepted', isAllowed: true, warnings: [warning] };
  }
  const contrary = newOnes(contradictionsOf(after), contradictionsOf(manifests));
  const findings = lintOf(after, nowMs).filter(({ file, rule }) => file === read.file && !isTold.has(rule));
  const before = new Set(lintOf(withOnly(manifests, read), nowMs).map(keyOf));
  const isFailing = (finding: Finding) => finding.severity === 'error' && !before.has(keyOf(finding));
  const reasons = [
    ...contrary.filter(({ absent }) => absent === undefined).map((one) => sentenceOf(one, read)),
    ...findings.filter(isFailing).map((one) => `${sentenceOf(one, read)} (${one.rule}). ${lintRules[one.rule].action}`),
  ];
  if (reasons.length > 0) return refusedFor(read, reasons);
  const warnings = [
    ...contrary.map((one) => {
      const what = one.absent === 'callee' ? 'the call' : 'it';
      return `${sentenceOf(one, read)}: ${what} is left out until there is one`;
    }),
    ...findings.filter((one) => one.severity !== 'note').map((one) => `${sentenceOf(one, read)} (${one.rule})`),
  ];
  return { outcome: 'accepted', isAllowed: true, warnings };
}

/** Lint's own names for what is refused here in other words. */
const isTold: ReadonlySet<string> = new Set(['document-invalid', 'contradiction', 'cell-missing']);

/** Identities, tokens and scopes of every policy are the cell's: without it none of them means anything. */
function deleted(kind: string, manifests: Manifests | undefined): ManifestVerdict {
  if (kind === 'Cell' && manifests === undefined) return refused(notKnown);
  const count = manifests?.policies.length ?? 0;
  if (kind !== 'Cell' || count === 0) return { outcome: 'accepted', isAllowed: true };
  return refused(
    `${count} ServicePolicy object${count === 1 ? '' : 's'} still stand${count === 1 ? 's' : ''} in the cluster, and mean nothing without their Cell: delete those first`,
  );
}

function withCandidate({ cell, policies }: Manifests, read: Read): Manifests {
  // Last, so that it is the second of two that claim the same.
  if (read.policy !== undefined) return { cell, policies: [...othersThan(read.policy, policies), read.policy] };
  return { cell: read.cell, policies };
}

/** What stood in the place of the candidate, alone. */
function withOnly({ cell, policies }: Manifests, { policy }: Read): Manifests {
  const stored = policy && policies.find((one) => isOf(policy, one));
  return { cell, policies: stored === undefined ? [] : [stored] };
}

function othersThan(policy: ServicePolicy, policies: readonly ServicePolicy[]): readonly ServicePolicy[] {
  return policies.filter((one) => !isOf(policy, one));
}

function isOf({ namespace, name }: ServicePolicy, other: ServicePolicy): boolean {
  return other.namespace === namespace && other.name === name;
}

function contradictionsOf({ cell, policies }: Manifests): readonly Contradiction[] {
  return cell === undefined ? [] : contradictions(cell, policies);
}

function lintOf({ cell, policies }: Manifests, nowMs: number): readonly Finding[] {
  const cells: readonly CellDocument[] = cell === undefined ? [] : [cell];
  const files = [...cells, ...policies].map(({ file }) => file);
  return lintDocuments({ cells, policies, problems: [], files }, { nowMs, expiresWithinMs }).findings;
}

/** Those that were not there before; where a finding stands may have moved. */
function newOnes<T extends Problem>(after: readonly T[], before: readonly T[]): readonly T[] {
  const known = new Set(before.map(keyOf));
  return after.filter((one) => !known.has(keyOf(one)));
}

function keyOf({ file, message }: Problem): string {
  return `${file}\n${message}`;
}

/** With the field where it is about this object, else with the object that it is about. */
function sentenceOf(problem: Problem, read: Read): string {
  if (problem.file !== read.file) return `${problem.file}: ${problem.message}`;
  const field = read.fieldOf(problem);
  return field === '' ? problem.message : `${field}: ${problem.message}`;
}

function refusedFor({ file }: Read, reasons: readonly string[]): ManifestVerdict {
  const [first] = reasons;
  return refused(
    reasons.length === 1 ? `${file}: ${first}` : `${file}:\n${reasons.map((one) => `- ${one}`).join('\n')}`,
  );
}

function refused(message: string): ManifestVerdict {
  return { outcome: 'refused', isAllowed: false, message };
}

function isEqual(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
