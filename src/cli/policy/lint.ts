import { type Command, Option } from 'commander';
import type { LintOptions, LintReport } from '#policy/lint/lint.ts';
import type { Severity } from '#policy/lint/lint-rules.ts';
import type { Finding } from '#policy/lint/subject.ts';
import { systemClock } from '#runtime/clock.ts';
import { parseDuration } from '#runtime/duration.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { problemText } from '#runtime/yaml-document.ts';
import { exitCodes } from '../exit-codes.ts';
import { type StateOptions, withState } from '../operator.ts';
import { print } from '../output.ts';
import { defaultManifestDir, manifestSets } from './manifest-files.ts';

interface Options extends StateOptions {
  readonly sarif?: boolean;
  readonly failOn: 'error' | 'warning';
  readonly expiresWithin: string;
}

const examples = `
Examples:
  cellmesh policy lint policy/                    the manifests of a directory
  cellmesh policy lint policy/api.yaml            what is to say of one file, beside the others of its directory
  cellmesh policy lint --fail-on warning          in CI; those of \`cellmesh up\`, or of the working directory
  cellmesh policy lint policy/ --sarif > lint.sarif   for code review`;

/** What is wrong or strange with manifests. */
export function addLint(policy: Command): void {
  withState(
    policy
      .command('lint')
      .summary('what is wrong or strange with manifests')
      .description(
        'Looks for what is wrong or strange with manifests: one line for each finding, with file, line, column, severity and rule (docs/policy-lint.md lists them). Ends with 1 when there is a finding that fails.',
      )
      .argument(
        '[paths...]',
        'directories, or files in them (default: those of `cellmesh up`, or of the working directory)',
      )
      .addOption(
        new Option('--fail-on <severity>', 'the least severity that fails')
          .choices(['error', 'warning'])
          .default('error'),
      )
      .option('--expires-within <duration>', 'how long before their end rules are told of', '30d')
      .addOption(new Option('--sarif', 'print SARIF 2.1.0').conflicts('json'))
      .addHelpText('after', examples),
  ).action(async (paths: readonly string[], options: Options) => {
    const outcome = await lintPaths(paths.length > 0 ? paths : [await defaultManifestDir(options.state)], options);
    if (options.sarif) {
      const { sarifOf } = await import('#policy/lint/sarif.ts');
      print(sarifOf(outcome.findings, policy.parent!.version()!), () => '', { json: true });
    } else print(outcome, () => report(outcome), options);
    const failing: readonly Severity[] = options.failOn === 'error' ? ['error'] : ['error', 'warning'];
    if (outcome.findings.some(({ severity }) => failing.includes(severity))) process.exitCode = exitCodes.failed.code;
  });
}

async function lintPaths(paths: readonly string[], { expiresWithin }: Options): Promise<LintReport> {
  const expiresWithinMs = parseDuration(expiresWithin);
  if (expiresWithinMs === undefined)
    throw new CellmeshError('config_invalid', '--expires-within must be a duration: 30d, 12h');
  const { lint } = await import('#policy/lint/lint.ts');
  const options: LintOptions = { nowMs: systemClock.now(), expiresWithinMs };
  const total = { findings: [] as Finding[], suppressed: [] as Finding[], files: 0, isWhole: true };
  for (const { texts, wanted } of await manifestSets(paths)) {
    const found = lint(texts, options);
    const isWanted = ({ file }: Finding) => wanted?.has(file) !== false;
    total.findings.push(...found.findings.filter(isWanted));
    total.suppressed.push(...found.suppressed.filter(isWanted));
    total.files += wanted?.size ?? found.files;
    total.isWhole &&= found.isWhole;
  }
  return total;
}

function report({ findings, suppressed, files, isWhole }: LintReport): string {
  const groups = [...Map.groupBy(findings, ({ file }) => file).values()].map((group) =>
    group.map((one) => problemText({ ...one, message: `${one.severity} ${one.rule}: ${one.message}` })).join('\n'),
  );
  const count = (severity: Severity) => {
    const number = findings.filter((one) => one.severity === severity).length;
    return `${number} ${severity}${number === 1 ? '' : 's'}`;
  };
  const summary = [
    `${count('error')}, ${count('warning')}, ${count('note')} in ${files} file${files === 1 ? '' : 's'}`,
    ...(suppressed.length > 0 ? [`${suppressed.length} more allowed by comments`] : []),
    ...(isWhole ? [] : ['what documents say together was not looked at']),
  ].join('; ');
  return [...groups, summary].join('\n\n');
}
