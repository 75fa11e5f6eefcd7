import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../bundle.ts';
import { copiesOf, copyOf, type Entry, type FileTree, file, link } from './file-tree.ts';
import type { Architecture } from './oci-layout.ts';

/** Names of npm and Node for what OCI calls by another. */
const cpus = { amd64: 'x64', arm64: 'arm64' } as const;

/** Whatever is of npm and not in a file of `dist/`: its name, version and license are in its `package.json`. */
export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  readonly license: string;
}

export interface NodeBinary extends NpmPackage {
  readonly path: string;
}

const home = 'opt/cellmesh';
/** User and group, as the injector says them too; any other does as well. */
export const uid = 14000;

/**
 * The kernel starts `cellmesh` by its first line, without a shell; one argument is all that the line may have. It is the flag of the launcher
 * beside it.
 */
const launcher = `#!/usr/bin/node --max-semi-space-size=8
import './dist/main.js';
`;

/** The command as `npm run build` left it in `dist`, what finds it in PATH, and the machine code of koffi. */
export async function cellmeshFiles(dist: string, packages: string, architecture: Architecture): Promise<FileTree> {
  if (!existsSync(join(dist, 'main.js'))) throw new Error(`${dist} is not there: \`npm run build\` makes it`);
  const { version, imports } = readPackage(root);
  const package_ = { name: 'cellmesh', version, type: 'module', imports: { '#examples/*': imports['#examples/*'] } };
  return new Map([
    ...(await copiesOf(dist, `${home}/dist`)),
    ...koffiFiles(packages, architecture),
    [`${home}/package.json`, file(`${JSON.stringify(package_)}\n`)],
    [`${home}/cellmesh`, file(launcher, true)],
    ['usr/bin/cellmesh', link(`/${home}/cellmesh`)],
  ]);
}

/** Whom processes are, and where names of hosts are looked for: `libc` asks. Directories that a runtime, or who runs it by hand, mounts something on. */
export const skeleton: FileTree = new Map<string, Entry>([
  ['etc/passwd', file(`root:x:0:0:root:/:/sbin/nologin\ncellmesh:x:${uid}:${uid}:cellmesh:/:/sbin/nologin\n`)],
  ['etc/group', file(`root:x:0:\ncellmesh:x:${uid}:\n`)],
  ['etc/nsswitch.conf', file('passwd: files\ngroup: files\nhosts: files dns\n')],
  ...['dev', 'proc', 'run', 'sys'].map((name): [string, Entry] => [name, { kind: 'directory', mode: 0o755 }]),
  ['tmp', { kind: 'directory', mode: 0o1777 }],
]);

/** Those of `node_modules` that the bundle leaves where they are. */
export function koffiPackages(packages: string, architecture: Architecture): NpmPackage[] {
  return Object.values(koffiDirectories(packages, architecture)).map(readPackage);
}

function koffiFiles(packages: string, architecture: Architecture): [string, Entry][] {
  const { facade, binding } = koffiDirectories(packages, architecture);
  const at = { facade: `${home}/node_modules/koffi`, binding: `${home}/node_modules/${bindingOf(architecture)}` };
  // Most of the package is source in C++, and for another libc.
  const ofFacade = ['package.json', 'index.js', 'LICENSE.txt', 'src/koffi/index.js', 'src/koffi/src/static.js'];
  const ofBinding = ['package.json', 'index.js', `linux_${cpus[architecture]}/koffi.node`];
  return [
    ...ofFacade.map((name): [string, Entry] => [`${at.facade}/${name}`, copyOf(join(facade, name))]),
    ...ofBinding.map((name): [string, Entry] => [`${at.binding}/${name}`, copyOf(join(binding, name))]),
  ];
}

/** The part in JavaScript is the same everywhere; the other has the machine code. */
function koffiDirectories(packages: string, architecture: Architecture) {
  const facade = packageDirectory(join(root, 'node_modules'), 'koffi');
  return { facade, binding: packageDirectory(packages, bindingOf(architecture)) };
}

function bindingOf(architecture: Architecture): string {
  return `@koromix/koffi-linux-${cpus[architecture]}`;
}

/** @throws Error that says how to get another platform's */
export function nodeBinary(packages: string, architecture: Architecture): NodeBinary {
  const directory = packageDirectory(packages, `node-linux-${cpus[architecture]}`);
  return { ...readPackage(directory), path: join(directory, 'bin/node') };
}

function packageDirectory(packages: string, name: string): string {
  const directory = join(packages, name);
  if (existsSync(directory)) return directory;
  throw new Error(`${name} is not in ${packages}: docs/image.md says how to get another platform's`);
}

function readPackage(directory: string): NpmPackage & { readonly imports: Readonly<Record<string, string>> } {
  return JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
}
