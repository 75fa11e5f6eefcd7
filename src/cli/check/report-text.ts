import { groups, type Verdict } from './check-definition.ts';
import { countOf, type Result } from './judge.ts';

const marks: Readonly<Record<Verdict, string>> = { ok: 'ok', warn: 'warn', fail: 'FAIL', unknown: '?' };
const nameColumn = 6;

/** For people: group by group, what is not well with the line that mends it. */
export function reportText(results: readonly Result[]): string {
  const width = Math.max(...results.map(({ check }) => check.id.length));
  const indent = ' '.repeat(2 + nameColumn + width + 2);
  const sections = groups.flatMap((group) => {
    const members = results.filter(({ check }) => check.group === group);
    return members.length === 0 ? [] : [[group, ...members.flatMap((one) => linesOf(one, width, indent))].join('\n')];
  });
  return [...sections, summaryOf(results)].join('\n\n');
}

function linesOf({ check, findings }: Result, width: number, indent: string): string[] {
  return findings.flatMap((finding) => {
    const line = `  ${marks[finding.verdict].padEnd(nameColumn)}${check.id.padEnd(width)}  ${finding.what}`;
    return finding.verdict === 'ok' ? [line] : [line, `${indent}-> ${finding.mend}`];
  });
}

function summaryOf(results: readonly Result[]): string {
  const { ok, warn, fail, unknown } = countOf(results);
  const parts = [`${results.length} checks: ${ok} ok`, `${warn} to look at`, `${fail} failed`, `${unknown} not known`];
  return parts.join(', ');
}
