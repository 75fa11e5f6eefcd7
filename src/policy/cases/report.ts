import { callLines, explainCall } from '../explain/explain-call.ts';
import type { CellAtHand } from './cell-at-hand.ts';
import type { Coverage } from './coverage.ts';
import type { CaseResult } from './run-cases.ts';

/** Of a case that fails. */
const rulesShownMax = 10;
const missedShownMax = 50;

interface ReportStyle {
  /** Cases that pass are counted, not named. */
  readonly isQuiet?: boolean | undefined;
}

/** Results for people: a line for each case; of one that fails, all that was found out. */
export function reportLines(
  policies: CellAtHand,
  results: readonly CaseResult[],
  coverage: Coverage,
  { isQuiet = false }: ReportStyle = {},
): string[] {
  const named = isQuiet ? results.filter(({ isPassed }) => !isPassed) : results;
  const files = Map.groupBy(named, ({ test }) => test.file);
  const failed = results.filter(({ isPassed }) => !isPassed).length;
  const outcome = failed === 0 ? `${results.length} passed` : `${results.length - failed} passed, ${failed} failed`;
  return [
    ...[...files].flatMap(([file, some]) => [file, ...some.flatMap((result) => caseLines(policies, result)), '']),
    `${results.length} case${results.length === 1 ? '' : 's'}: ${outcome}. Rules that allow something in them: ${coverage.reached} of ${coverage.rules} (${coverage.percent} %).`,
    ...missedLines(coverage),
  ];
}

function missedLines({ missed }: Coverage): string[] {
  const more = missed.length - missedShownMax;
  return [
    ...missed.slice(0, missedShownMax).map(({ service, rule }) => `  not reached: ${service} ${rule}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ];
}

function caseLines(policies: CellAtHand, result: CaseResult): string[] {
  const title = `  ${result.isPassed ? '✔' : '✖'} ${result.test.name}`;
  return result.isPassed
    ? [title]
    : [title, ...failureLines(policies, result).map((line) => `      ${line}`.trimEnd())];
}

/** What is not as expected in a case that fails, and the whole evaluation. */
export function failureLines(policies: CellAtHand, { test, hops }: CaseResult): string[] {
  const hop = hops.at(-1)!;
  const which = test.hops.length === 1 ? [] : [`in hop ${hops.length}, ${hop.parties}:`];
  return [
    `${test.file}:${test.hops[hops.length - 1]!.expect.at.line}`,
    ...which,
    ...hop.differences.flatMap(({ expected, actual }) => [`expected  ${expected}`, `actual    ${actual}`]),
    '',
    ...callLines(policies, hop.call, hop.decision, rulesShownMax),
    '',
  ];
}

/** Results for programs. */
export function reportJson(policies: CellAtHand, results: readonly CaseResult[], coverage: Coverage): unknown {
  const cases = results.map(({ test, isPassed, hops }) => ({
    ...{ file: test.file, line: test.line, name: test.name, isPassed },
    hops: hops.map(({ call, parties, differences, decision }) => {
      const { rules, needed, request, decision: told } = explainCall(policies, call, decision);
      const { method, path, port } = request;
      const evaluation = differences.length > 0 ? { differences, request, rules, needed } : { method, path, port };
      return { parties, decision: told, ...evaluation };
    }),
  }));
  return { version: policies.version, isPassed: results.every(({ isPassed }) => isPassed), cases, coverage };
}
