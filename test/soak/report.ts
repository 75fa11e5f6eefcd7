import { table } from '#cli/output.ts';
import type { Slope } from './memory-slope.ts';
import { openNames, type SoakReport, sides } from './soak.ts';

/** What a heap may be larger at the end than at the start, both at rest: code that was compiled late. A minute's load finds a leak of some 300 bytes a request. */
const heapGrowthMax = { share: 0.05, megabytes: 1.5 };

/** What was not as it should be; empty when all was well. */
export function findingsOf({ works, errors, start, end }: SoakReport): string[] {
  const findings = works.filter(({ done }) => done === 0).map(({ name }) => `${name}: never came to its end`);
  const failed = works.reduce((sum, work) => sum + work.failed, 0);
  if (failed > 0)
    findings.push(`${failed} errors that nobody made on purpose, the first ones:`, ...errors.slice(0, 10));
  for (const side of sides) {
    for (const name of openNames) {
      const [before, after] = [start[side][name], end[side][name]];
      if (after > before) findings.push(`${side}: ${after} ${name} are left, there were ${before}`);
    }
    const before = start[side].memory.heapMegabytes;
    const after = end[side].memory.heapMegabytes;
    const most = before * (1 + heapGrowthMax.share) + heapGrowthMax.megabytes;
    if (after > most) findings.push(`${side}: the heap grew from ${megabytes(before)} to ${megabytes(after)}`);
  }
  return findings;
}

/** For people. */
export function reportText(report: SoakReport): string {
  const { minutes, works, slopes, start, end, samples } = report;
  const done = works.reduce((sum, work) => sum + work.done, 0);
  const failed = works.reduce((sum, work) => sum + work.failed, 0);
  const findings = findingsOf(report);
  const memory = sides.flatMap((side) =>
    (['heapMegabytes', 'externalMegabytes', 'residentMegabytes'] as const).map((name) => [
      side,
      name.replace('Megabytes', ''),
      megabytes(start[side].memory[name]),
      megabytes(end[side].memory[name]),
      slopeText(slopes[side][name]),
    ]),
  );
  const open = sides.flatMap((side) =>
    openNames.map((name) => [side, name, String(start[side][name]), String(end[side][name])]),
  );
  return [
    `${minutes} min of load, ${samples.length} samples; ${done} pieces of work of ${works.length} kinds, ${failed} errors`,
    table(
      ['WORK', 'DONE', 'FAILED'],
      works.map((work) => [work.name, String(work.done), String(work.failed)]),
    ),
    table(['', 'AFTER GC', 'AT START', 'AT END', 'SLOPE UNDER LOAD'], memory),
    table(['', 'OPEN', 'AT START', 'AT END'], open),
    findings.length === 0 ? 'nothing is left behind' : findings.join('\n'),
    '',
  ].join('\n\n');
}

export function megabytes(value: number): string {
  return `${value.toFixed(1)} MB`;
}

function slopeText({ megabytesPerHour, plusMinus, rSquared }: Slope): string {
  const sign = megabytesPerHour < 0 ? '' : '+';
  return `${sign}${megabytesPerHour.toFixed(2)} ± ${plusMinus.toFixed(2)} MB/h (R² ${rSquared.toFixed(2)})`;
}
