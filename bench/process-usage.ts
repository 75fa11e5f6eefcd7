import { readdirSync, readFileSync } from 'node:fs';

/**
 * CPU time of a process in microseconds, from the scheduler's own accounting (field 1 of /proc/PID/task/*\/schedstat, in ns): clock
 * ticks of 10 ms are too coarse for rounds of a second. Undefined where the system has no such file (anything but Linux).
 */
export function cpuMicros(pids: readonly number[]): number | undefined {
  let nanoseconds = 0;
  for (const pid of pids) {
    try {
      for (const task of readdirSync(`/proc/${pid}/task`)) {
        nanoseconds += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ', 1)[0]);
      }
    } catch {
      return undefined;
    }
  }
  return nanoseconds / 1000;
}

/** Resident memory of the processes together, in megabytes (2^20 bytes). */
export function residentMegabytes(pids: readonly number[]): number | undefined {
  let kilobytes = 0;
  for (const pid of pids) {
    try {
      const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
      kilobytes += Number(match?.[1] ?? 0);
    } catch {
      return undefined;
    }
  }
  return kilobytes / 1024;
}

export interface MachineTimes {
  readonly total: number;
  readonly steal: number;
}

/** Ticks of the whole machine, to tell rounds in which a neighbour took the processor. */
export function machineTimes(): MachineTimes | undefined {
  try {
    const ticks = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]!.trim().split(/\s+/).slice(1).map(Number);
    return { total: ticks.slice(0, 8).reduce((sum, value) => sum + value, 0), steal: ticks[7] ?? 0 };
  } catch {
    return undefined;
  }
}
