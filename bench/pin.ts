import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';

/**
 * Ties processes with all of their threads to one processor: every hop to the first, load and backend to the second. Without it the scheduler's
 * choices, which differ from round to round, are most of what is measured. Does nothing where there is no `taskset` or one processor only.
 */
export function pin(pids: readonly number[], processor: 0 | 1): void {
  if (process.platform !== 'linux' || cpus().length < 2) return;
  for (const pid of pids) {
    try {
      execFileSync('taskset', ['-apc', String(processor), String(pid)], { stdio: 'ignore' });
    } catch {
      return;
    }
  }
}
