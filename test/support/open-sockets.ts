import { existsSync, readdirSync, readlinkSync } from 'node:fs';

/** Sockets that a process holds, from `/proc`: connections, listeners, and ends that nobody closed. 0 where there is no `/proc`. */
export function openSockets(pid: number): number {
  const directory = `/proc/${pid}/fd`;
  if (!existsSync(directory)) return 0;
  return readdirSync(directory).filter((fd) => isSocket(`${directory}/${fd}`)).length;
}

function isSocket(path: string): boolean {
  try {
    return readlinkSync(path).startsWith('socket:');
  } catch {
    // Closed since the directory was read.
    return false;
  }
}
