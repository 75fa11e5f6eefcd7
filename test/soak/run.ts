import { parseArgs } from 'node:util';
import { findingsOf, megabytes, reportText } from './report.ts';
import { type Sample, soak } from './soak.ts';

const usage = `npm run test:soak -- [--minutes N] [--json]

  --minutes N  how long the load lasts (default 30, or CELLMESH_SOAK_MINUTES)
  --json       print the report as JSON, with every sample

Exit code 1 when something failed or is left behind.
`;

const { values } = parseArgs({
  options: { minutes: { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean' } },
});
const minutes = Number(values.minutes ?? process.env['CELLMESH_SOAK_MINUTES'] ?? 30);
if (values.help || !(minutes > 0)) {
  process.stderr.write(usage);
  process.exitCode = values.help ? 0 : 64;
} else {
  const report = await soak({ minutes, onSample: showProgress });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  process.stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : reportText(report));
  process.exitCode = findingsOf(report).length === 0 ? 0 : 1;
}

/** One line that is written over on a terminal; elsewhere a line for each sample. */
function showProgress({ seconds, done, failed, memory }: Sample): void {
  const heaps = `${megabytes(memory.caller.heapMegabytes)}, ${megabytes(memory.callee.heapMegabytes)}`;
  const text = `${(seconds / 60).toFixed(1)} of ${minutes} min: ${done} done, ${failed} failed, heaps ${heaps}`;
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
}
