import { writeFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { CellAtHand } from '#policy/cases/cell-at-hand.ts';
import { type Coverage, coverageOf } from '#policy/cases/coverage.ts';
import { junitReport } from '#policy/cases/junit.ts';
import { readCases } from '#policy/cases/read-cases.ts';
import { failureLines, reportJson, reportLines } from '#policy/cases/report.ts';
import { type CaseResult, runCases } from '#policy/cases/run-cases.ts';
import { systemClock } from '#runtime/clock.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { WatchedDirectory } from '#runtime/watched-directory.ts';
import { readTestFiles, readYamlFiles } from '#runtime/yaml-files.ts';
import { exitCodes } from '../exit-codes.ts';
import { type StateOptions, withState } from '../operator.ts';
import { print, printError } from '../output.ts';
import { stopRequested } from '../stop-signal.ts';
import { defaultManifestDir } from './manifest-files.ts';

interface TestOptions extends StateOptions {
  readonly candidate?: boolean;
  readonly coverageMin?: number;
  readonly junit?: string;
  readonly watch?: boolean;
  readonly quiet?: boolean;
}

/** Whether manifests allow and refuse what their authors mean. */
export function addTest(policy: Command): void {
  const command = policy
    .command('test')
    .summary('runs the cases beside manifests')
    .description(
      'Runs the cases (*.test.yaml, kind PolicyTest) beside manifests: each is decided on both sides of the call, as sidecars do. Ends with 1 when a case fails.',
    )
    .argument('[dir]', 'manifests and cases (default: those of `cellmesh up`, or of the working directory)')
    .option('--candidate', 'decide by the candidates, for everybody, of services that have one')
    .option('--coverage-min <percent>', 'fail when fewer of the rules allow something in the cases', percent)
    .option('--junit <file>', 'write a report for CI servers too')
    .option('--quiet', 'name the cases that fail only')
    .option('--watch', 'run again with every change, until Ctrl-C');
  withState(command).action(async (given: string | undefined, options: TestOptions) => {
    const directory = given ?? (await defaultManifestDir(options.state));
    if (options.watch) return await watchCases(directory, options);
    const complaint = await run(await readFiles(directory), directory, options);
    if (complaint === undefined) return;
    process.stderr.write(`cellmesh: ${complaint}\n`);
    process.exitCode = exitCodes.failed.code;
  });
}

interface Files {
  readonly manifests: ReadonlyMap<string, string>;
  readonly tests: ReadonlyMap<string, string>;
}

async function readFiles(directory: string): Promise<Files> {
  return { manifests: await readYamlFiles(directory), tests: await readTestFiles(directory) };
}

/** Prints and writes the results. Returns what is wrong with them. */
async function run({ manifests, tests }: Files, directory: string, options: TestOptions): Promise<string | undefined> {
  if (tests.size === 0) throw new CellmeshError('not_found', `no *.test.yaml lies in ${directory}`);
  const policies = CellAtHand.read(manifests, options.candidate ? 'candidate' : 'in-force');
  const results = runCases(policies, readCases(tests), systemClock.now());
  const coverage = coverageOf(policies, results);
  const forPeople = () => reportLines(policies, results, coverage, { isQuiet: options.quiet }).join('\n');
  print(options.json ? reportJson(policies, results, coverage) : undefined, forPeople, options);
  if (options.junit !== undefined) {
    const details = (result: CaseResult) => failureLines(policies, result).join('\n');
    await writeReport(options.junit, junitReport(results, details));
  }
  return complaintOf(results, coverage, options);
}

async function writeReport(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text);
  } catch (cause) {
    throw new CellmeshError('file_unreadable', `${file} cannot be written: ${messageOf(cause)}`, { cause });
  }
}

function complaintOf(
  results: readonly CaseResult[],
  { percent }: Coverage,
  { coverageMin = 0 }: TestOptions,
): string | undefined {
  const failed = results.filter(({ isPassed }) => !isPassed).length;
  if (failed > 0) return `${failed} of ${results.length} cases failed`;
  if (percent < coverageMin) return `${percent} % of the rules allow something in the cases, not ${coverageMin} %`;
  return undefined;
}

/** What is wrong is shown, and waits for the next change. */
async function watchCases(directory: string, options: TestOptions): Promise<void> {
  let before = '';
  let running = Promise.resolve();
  const runIfChanged = async () => {
    const read = await readFiles(directory).catch((error: unknown) => ({ error }));
    const now = 'error' in read ? messageOf(read.error) : JSON.stringify([[...read.manifests], [...read.tests]]);
    if (now === before) return;
    before = now;
    try {
      if ('error' in read) throw read.error;
      const complaint = await run(read, directory, options);
      if (complaint !== undefined) process.stderr.write(`cellmesh: ${complaint}\n`);
    } catch (error) {
      printError(error, options);
    }
    process.stderr.write(`cellmesh: waiting for changes in ${directory}; Ctrl-C ends it\n`);
  };
  const onChange = () => {
    running = running.then(runIfChanged);
  };
  const stopped = stopRequested({ untilStdinEnds: false });
  let unwatchable: unknown;
  using _watched = new WatchedDirectory({
    ...{ directory, clock: systemClock, onChange, isPersistent: true },
    onUnwatchable: (error) => {
      unwatchable = error;
    },
  });
  if (unwatchable !== undefined)
    throw new CellmeshError('file_unreadable', `${directory} cannot be watched: ${messageOf(unwatchable)}`);
  onChange();
  await stopped;
  await running;
}

function percent(text: string): number {
  const number = Number(text);
  if (/^\d{1,3}$/.test(text) && number <= 100) return number;
  throw new InvalidArgumentError('a whole number from 0 to 100 is expected');
}
