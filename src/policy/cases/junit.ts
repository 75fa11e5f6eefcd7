import type { CaseResult } from './run-cases.ts';

/**
 * Results as JUnit XML, as CI servers read it (the format of Ant's and Jenkins' junit plugins): a suite for each file.
 * @param details what is told of a case that failed
 */
export function junitReport(results: readonly CaseResult[], details: (result: CaseResult) => string): string {
  const suites = Map.groupBy(results, ({ test }) => test.file);
  const failed = (some: readonly CaseResult[]) => some.filter(({ isPassed }) => !isPassed).length;
  const counts = (some: readonly CaseResult[]) => `tests="${some.length}" failures="${failed(some)}" errors="0"`;
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="cellmesh policy test" ${counts(results)}>`,
    ...[...suites].flatMap(([file, cases]) => [
      `  <testsuite name="${attribute(file)}" ${counts(cases)}>`,
      ...cases.flatMap((result) => caseLines(result, details)),
      '  </testsuite>',
    ]),
    '</testsuites>',
  ];
  return `${lines.join('\n')}\n`;
}

function caseLines(result: CaseResult, details: (result: CaseResult) => string): string[] {
  const { test, isPassed, hops } = result;
  const { file, line, name } = test;
  const open = `    <testcase classname="${attribute(file)}" name="${attribute(name)}" file="${attribute(file)}" line="${line}"`;
  if (isPassed) return [`${open}/>`];
  const difference = hops.at(-1)!.differences[0]!;
  const message = `expected: ${difference.expected}; actual: ${difference.actual}`;
  return [
    `${open}>`,
    `      <failure type="policy" message="${attribute(message)}">${content(details(result))}</failure>`,
    '    </testcase>',
  ];
}

/** What XML 1.0 (2.2) has no way to write, not even as a reference. */
const noCharacter = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;

function content(text: string): string {
  return text
    .replace(noCharacter, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('\r', '&#13;');
}

/** Readers make white space of an attribute into spaces. */
function attribute(text: string): string {
  return content(text).replaceAll('"', '&quot;').replaceAll('\n', '&#10;').replaceAll('\t', '&#9;');
}
