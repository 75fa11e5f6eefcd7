import { execFileSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { copyOf, type Entry, type FileTree, link } from './file-tree.ts';
import type { Architecture } from './oci-layout.ts';

/** A package of Debian, and which of its files are in the image. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly paths: readonly string[];
}

export interface SystemFiles {
  readonly tree: FileTree;
  readonly packages: readonly DebianPackage[];
}

/** `cellmesh intercept` speaks to the kernel through it; `iptables` speaks to the same part of the kernel, and would only add to the image. */
export const nft = '/usr/sbin/nft';

/**
 * What a base image has otherwise, from this machine: `nft`, the libraries that it and Node are linked to, and the terms that they come under.
 * @throws Error on a machine that is no Debian, is of another platform, or has no `nft`
 */
export function systemFiles(node: string, architecture: Architecture): SystemFiles {
  const own = process.arch === 'x64' ? 'amd64' : process.arch;
  if (architecture !== own || !existsSync('/usr/bin/dpkg-query') || !existsSync(nft)) {
    throw new Error(
      'without --base the system files come from this machine, which must be a Debian of the same platform with nftables: `apt-get install nftables`, or see docs/image.md',
    );
  }
  const libraries = [...new Set([...librariesOf(node), ...librariesOf(nft)])].sort();
  const packages = debianPackagesOf([nft, ...libraries]);
  const terms = packages
    .map(({ name }) => `/usr/share/doc/${name}/copyright`)
    .filter((path) => existsSync(path))
    .map((path): [string, Entry] => [path.slice(1), copyOf(path)]);
  const tree = new Map<string, Entry>([
    ['lib', link('usr/lib')],
    ['lib64', link('usr/lib64')],
    [nft.slice(1), copyOf(nft, true)],
    ...libraries.map((path): [string, Entry] => [inUsr(path), copyOf(path, true)]),
    ...terms,
  ]);
  return { tree, packages };
}

/** A third of the program are names of functions for debuggers, which nobody runs there. @throws Error without binutils */
export async function stripped(path: string): Promise<Entry> {
  const directory = await mkdtemp(join(tmpdir(), 'cellmesh-image-'));
  try {
    const copy = join(directory, basename(path));
    execFileSync('strip', ['--strip-all', '-o', copy, path], { stdio: ['ignore', 'ignore', 'pipe'] });
    return copyOf(copy, true);
  } catch (error) {
    throw new Error('`strip` cannot do this program: install binutils for its platform, or say --no-strip', {
      cause: error,
    });
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** By the name that the loader looks for, which is a link to a file with the whole version. */
function librariesOf(program: string): string[] {
  const listed = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...listed.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)].map(([, path]) => path!);
}

function debianPackagesOf(paths: readonly string[]): DebianPackage[] {
  const byName = Map.groupBy(paths, packageOf);
  return [...byName].sort().map(([name, own]) => {
    const status = execFileSync('dpkg-query', ['-s', name], { encoding: 'utf8' });
    const field = (key: string) => new RegExp(`^${key}: (.*)$`, 'm').exec(status)![1]!;
    const [version, architecture] = [field('Version'), field('Architecture')];
    return { name: field('Package'), version, architecture, paths: own.map(inUsr) };
  });
}

/** Debian moved `/lib` into `/usr/lib`, and knows each file by one of both. */
function packageOf(path: string): string {
  const real = realpathSync(path);
  for (const name of [real, real.replace(/^\/usr/, '')]) {
    try {
      const found = execFileSync('dpkg-query', ['-S', name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
      return found.slice(0, found.indexOf(': '));
    } catch {}
  }
  throw new Error(`${path} is of no package of Debian`);
}

function inUsr(path: string): string {
  return path.slice(1).replace(/^(lib|lib64)\//, 'usr/$1/');
}
