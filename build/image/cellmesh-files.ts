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
export async function cellmeshFiles(dist: string, architecture: Architecture): Promise<FileTree> {
  if (!existsSync(join(dist, 'main.js'))) throw new Error(`${dist} is not there: \`npm run build\` makes it`);
  const { version, imports } = readPackage(root);
  const package_ = { name: 'cellmesh', version, type: 'module', imports: { '#examples/*': imports['#examples/*'] } };
  return new Map([
    ...(await copiesOf(dist, `${home}/dist`)),
    ...(await koffiFiles(architecture)),
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
export function koffiPackages(architecture: Architecture): NpmPackage[] {
  return koffiNames(architecture).map((name) => readPackage(packageDirectory(name)));
}

async function koffiFiles(architecture: Architecture): Promise<[string, Entry][]> {
  const [facade, binding] = koffiNames(architecture);
  const places = { facade: packageDirectory(facade), binding: packageDirectory(binding) };
  const at = { facade: `${home}/node_modules/${facade}`, binding: `${home}/node_modules/${binding}` };
  // Most of the package is source in C++, and for another libc.
  const wanted = ['package.json', 'index.js', 'LICENSE.txt', 'src/koffi/index.js', 'src/koffi/src/static.js'];
  const bound = ['package.json', 'index.js', `linux_${cpus[architecture]}/koffi.node`];
  return [
    ...wanted.map((name): [string, Entry] => [`${at.facade}/${name}`, copyOf(join(places.facade, name))]),
    ...bound.map((name): [string, Entry] => [`${at.binding}/${name}`, copyOf(join(places.binding, name))]),
  ];
}

function koffiNames(architecture: Architecture) {
  return ['koffi', `@koromix/koffi-linux-${cpus[architecture]}`] as const;
}

/** @throws Error that says how to get another platform's */
export function nodeBinary(architecture: Architecture): NodeBinary {
  const name = `node-linux-${cpus[architecture]}`;
  const directory = packageDirectory(name);
  return { ...readPackage(directory), path: join(directory, 'bin/node') };
}

function packageDirectory(name: string): string {
  const directory = join(root, 'node_modules', name);
  if (existsSync(directory)) return directory;
  const cpu = name.slice(name.lastIndexOf('-') + 1);
  throw new Error(`${name} is not there: \`npm install --no-save --force --os=linux --cpu=${cpu} ${name}\` gets it`);
}

function readPackage(directory: string): NpmPackage & { readonly imports: Readonly<Record<string, string>> } {
  return JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
}
