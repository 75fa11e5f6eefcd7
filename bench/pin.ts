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

/**
 * Lets others have the processor first, whenever they want it (`SCHED_IDLE`): control planes run in the process that calls this, and what they do with
 * decisions that are reported is no part of what is measured. Does nothing where there is no `chrt`.
 */
export function giveWay(): void {
  if (process.platform !== 'linux') return;
  try {
    execFileSync('chrt', ['--all-tasks', '--idle', '--pid', '0', String(process.pid)], { stdio: 'ignore' });
  } catch {
    // It is measured all the same.
  }
}
