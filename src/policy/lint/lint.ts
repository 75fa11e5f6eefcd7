import type { Problem } from '#runtime/yaml-document.ts';
import { contradictions } from '../contradictions.ts';
import type { ServicePolicy } from '../manifest.ts';
import type { Documents } from '../read-documents.ts';
import { collectManifests } from '../read-manifests.ts';
import { checkArrivingScopes } from './arriving-scopes.ts';
import { checkBroadRules } from './broad-rules.ts';
import { checkCandidates } from './candidates.ts';
import { checkCeilingCuts } from './ceiling-cuts.ts';
import { checkExpiringRules, checkPlaintext } from './expiring-rules.ts';
import { checkPeers } from './peers.ts';
import { checkShadowedRules } from './shadowed-rules.ts';
import { type Finding, findingOf, type Report, type Subject, subjectOf } from './subject.ts';
import { suppress } from './suppressions.ts';
import { checkUnusedScopes } from './unused-scopes.ts';

export interface LintOptions {
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  /** How long before their end rules are told of. */
  readonly expiresWithinMs: number;
}

export interface LintReport {
  /** By file, line and column. */
  readonly findings: readonly Finding[];
  /** What comments allowed. */
  readonly suppressed: readonly Finding[];
  readonly files: number;
  /** Whether errors kept lint from looking at what documents say together. */
  readonly isWhole: boolean;
}

const checksOfOne: readonly ((policy: ServicePolicy, report: Report, options: LintOptions) => void)[] = [
  checkBroadRules,
  checkExpiringRules,
  checkPlaintext,
];

const checksOfAll: readonly ((subject: Subject, report: Report) => void)[] = [
  checkShadowedRules,
  checkPeers,
  checkArrivingScopes,
  checkCeilingCuts,
  checkUnusedScopes,
  checkCandidates,
];

/** Everything that is wrong or strange with the manifests of a cell. @param texts by the name of their file */
export function lint(texts: ReadonlyMap<string, string>, options: LintOptions): LintReport {
  const { findings, isWhole } = lintDocuments({ ...collectManifests(texts), files: [...texts.keys()] }, options);
  const { left, suppressed } = suppress(texts, findings, { isWhole });
  return { findings: left.toSorted(inOrder), suppressed, files: texts.size, isWhole };
}

interface LintedDocuments extends Documents {
  /** Of those that could not be read. */
  readonly problems: readonly Problem[];
  /** Their names. */
  readonly files: readonly string[];
}

/** The same of documents that are read already, and that have no comments. */
export function lintDocuments(
  { cells, policies, problems, files }: LintedDocuments,
  options: LintOptions,
): Pick<LintReport, 'findings' | 'isWhole'> {
  const findings = problems.map((problem) => findingOf('document-invalid', problem));
  const report: Report = (rule, { file }, { line, column }, message) =>
    void findings.push(findingOf(rule, { file, line, column, message }));
  for (const policy of policies) for (const check of checksOfOne) check(policy, report, options);
  const [cell] = cells;
  const contrary: readonly Problem[] =
    problems.length === 0 && cell !== undefined ? contradictions(cell, policies) : [];
  findings.push(...contrary.map((problem) => findingOf('contradiction', problem)));
  if (cell === undefined && problems.length === 0)
    report(
      'cell-missing',
      { file: files[0]! },
      { line: 1, column: 1 },
      'no file of the directory holds a Cell document',
    );
  const isWhole = findings.every(
    ({ rule }) => rule !== 'document-invalid' && rule !== 'contradiction' && rule !== 'cell-missing',
  );
  if (isWhole) {
    const subject = subjectOf(cell!, policies);
    for (const check of checksOfAll) check(subject, report);
  }
  return { findings, isWhole };
}

function inOrder(one: Finding, other: Finding): number {
  if (one.file !== other.file) return one.file < other.file ? -1 : 1;
  return one.line - other.line || one.column - other.column;
}
