import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { link, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CellmeshError, messageOf } from '#runtime/errors.ts';

/** A key file is some hundred bytes, a chain some thousand. */
const fileBytesMax = 1024 * 1024;

/** Writes and flushes a file that is only whole or absent, readable by its owner alone. An existing one is replaced. */
export async function writePrivateFile(path: string, content: string): Promise<void> {
  const temporary = await writeTemporary(path, content);
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

/** Like `writePrivateFile`, but never replaces: of several processes that create at once one wins. Says whether it was this one. */
export async function createPrivateFile(path: string, content: string): Promise<boolean> {
  const temporary = await writeTemporary(path, content);
  try {
    // link() fails where rename() would overwrite; the name appears with the whole content behind it.
    await link(temporary, path);
    await syncDirectory(dirname(path));
    return true;
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false;
    throw unwritable(path, error);
  } finally {
    await rm(temporary, { force: true });
  }
}

/**
 * Reads a file that only its owner may read.
 * @throws CellmeshError `key_permissions` when group or others have any right to it, `file_unreadable`
 */
export async function readPrivateFile(path: string): Promise<string> {
  return readOpenFile(path, (stats) => {
    const { mode } = stats;
    if ((mode & 0o077) === 0 || isOfSecretVolume(stats)) return;
    const octal = (mode & 0o777).toString(8);
    throw new CellmeshError('key_permissions', `${path} has mode ${octal}, others can read the key: chmod 600 ${path}`);
  });
}

/** @throws CellmeshError `file_unreadable` */
export async function readTextFile(path: string): Promise<string> {
  return readOpenFile(path, () => undefined);
}

/** Whether something is at `path`; what cannot be looked at is an error, not an absence. */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw unreadable(path, error);
  }
}

export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

async function writeTemporary(path: string, content: string): Promise<string> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    return temporary;
  } catch (error) {
    throw unwritable(path, error);
  }
}

/**
 * As the kubelet puts the file of a Secret into a pod whose processes are not root: it belongs to root, and a group of theirs (`fsGroup`) may
 * read it. Whoever is in that group is in the pod.
 */
function isOfSecretVolume({ mode, uid, gid }: Stats): boolean {
  const isOwner = process.getuid?.() === 0;
  return !isOwner && uid === 0 && (mode & 0o037) === 0 && (process.getgroups?.() ?? []).includes(gid);
}

/** Mode and content come from one open file: a name could point elsewhere between two look-ups. */
async function readOpenFile(path: string, check: (stats: Stats) => void): Promise<string> {
  try {
    const handle = await open(path, 'r');
    try {
      const stats = await handle.stat();
      check(stats);
      if (stats.size > fileBytesMax) throw new Error(`it is larger than ${fileBytesMax} bytes`);
      return await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof CellmeshError) throw error;
    throw unreadable(path, error);
  }
}

function unreadable(path: string, cause: unknown): CellmeshError {
  return new CellmeshError('file_unreadable', `${path} cannot be read: ${messageOf(cause)}`, { cause });
}

function unwritable(path: string, cause: unknown): CellmeshError {
  return new CellmeshError('file_unreadable', `${path} cannot be written: ${messageOf(cause)}`, { cause });
}
