import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';

/**
 * Ties processes with all of their threads to one processor: every hop to the first, load and backend to the second. Without it the scheduler's
 * choices, which differ from round to round, are most of what is measured. `any` unties. Does nothing where there is no `taskset` or one processor only.
 */
export function pin(pids: readonly number[], processor: 0 | 1 | 'any'): void {
  if (process.platform !== 'linux' || cpus().length < 2) return;
  const list = processor === 'any' ? `0-${cpus().length - 1}` : String(processor);
  for (const pid of pids) {
    try {
      execFileSync('taskset', ['-apc', list, String(pid)], { stdio: 'ignore' });
    } catch {
      return;
    }
  }
}
