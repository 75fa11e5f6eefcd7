import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { packTar, type TarEntry } from 'modern-tar';

/** What lies at a path of the image. All of it belongs to root, who does not run there. */
export type Entry =
  | { readonly kind: 'file'; readonly data: Uint8Array; readonly isExecutable: boolean }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'directory'; readonly mode: number };

/** By path from the root, without the first slash. Directories need not be there: what lies in them makes them. */
export type FileTree = ReadonlyMap<string, Entry>;

export function file(data: Uint8Array | string, isExecutable = false): Entry {
  return { kind: 'file', data: typeof data === 'string' ? Buffer.from(data) : data, isExecutable };
}

export function link(target: string): Entry {
  return { kind: 'link', target };
}

/** A file of this machine, as it is: through links, without its owner and times. */
export function copyOf(path: string, isExecutable = false): Entry {
  return file(readFileSync(path), isExecutable);
}

/** All files below `directory`, at `at` in the image. */
export async function copiesOf(directory: string, at: string): Promise<[string, Entry][]> {
  const found = await readdir(directory, { recursive: true, withFileTypes: true });
  return found
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .map((path) => [at + path.slice(directory.length), copyOf(path)]);
}

/** On disk, where nothing is yet. */
export async function writeTree(tree: FileTree, directory: string): Promise<void> {
  for (const [path, entry] of tree) {
    const place = join(directory, path);
    await mkdir(entry.kind === 'directory' ? place : dirname(place), { recursive: true });
    if (entry.kind === 'directory') await chmod(place, entry.mode);
    else if (entry.kind === 'link') await symlink(entry.target, place);
    else await writeFile(place, entry.data, { mode: entry.isExecutable ? 0o755 : 0o644 });
  }
}

/** Sorted and of no time: the same tree is the same bytes. */
export async function tarOf(tree: FileTree): Promise<Uint8Array> {
  const all = new Map(tree);
  for (const path of tree.keys()) {
    for (let end = path.indexOf('/'); end > 0; end = path.indexOf('/', end + 1)) {
      const parent = path.slice(0, end);
      if (!all.has(parent)) all.set(parent, { kind: 'directory', mode: 0o755 });
    }
  }
  return packTar([...all].sort(([a], [b]) => (a < b ? -1 : 1)).map(([path, entry]) => tarEntry(path, entry)));
}

export function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function tarEntry(path: string, entry: Entry): TarEntry {
  const owner = { uid: 0, gid: 0, uname: '', gname: '', mtime: new Date(0) };
  switch (entry.kind) {
    case 'directory':
      return { header: { ...owner, name: `${path}/`, type: 'directory', size: 0, mode: entry.mode } };
    case 'link':
      return { header: { ...owner, name: path, type: 'symlink', size: 0, mode: 0o777, linkname: entry.target } };
    case 'file': {
      const mode = entry.isExecutable ? 0o755 : 0o644;
      return { header: { ...owner, name: path, type: 'file', size: entry.data.length, mode }, body: entry.data };
    }
  }
}
