import { readdir, readFile } from 'node:fs/promises';

/** Descriptors of this process, sockets among them, and how many it may have. */
export interface OpenFiles {
  readonly open: number;
  readonly max: number;
}

/** Undefined where the system does not tell: anywhere but on Linux. */
export async function readOpenFiles(): Promise<OpenFiles | undefined> {
  try {
    const [open, limits] = await Promise.all([readdir('/proc/self/fd'), readFile('/proc/self/limits', 'utf8')]);
    const max = /^Max open files +(\d+|unlimited) /m.exec(limits)?.[1];
    if (max === undefined) return undefined;
    return { open: open.length, max: max === 'unlimited' ? Number.POSITIVE_INFINITY : Number(max) };
  } catch {
    return undefined;
  }
}
