import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../bundle.ts';
import { type BaseImage, readBaseImage } from './base-image.ts';
import { cellmeshFiles, koffiPackages, type NpmPackage, nodeBinary, skeleton, uid } from './cellmesh-files.ts';
import { exampleFiles } from './example-files.ts';
import { copyOf, type FileTree } from './file-tree.ts';
import { type Architecture, type Image, type ImageDescription, imageOf, type Layer, layerOf } from './oci-layout.ts';
import { softwareBill } from './software-bill.ts';
import { type SystemFiles, stripped, systemFiles } from './system-files.ts';

export interface ImageOptions {
  /** Where `npm run build` wrote to. */
  readonly dist: string;
  /** The `node_modules` that has Node and koffi for the platform. */
  readonly packages: string;
  readonly architecture: Architecture;
  /** An archive of an image with the libraries of Node and `nft`; undefined: they come from this machine. */
  readonly base?: string | undefined;
  /** Whether names for debuggers stay in Node. */
  readonly keepsSymbols?: boolean | undefined;
  /** Before the version: `registry.example/cellmesh`. */
  readonly repository: string;
}

export interface NamedImage extends Image {
  readonly name: string;
  /** All files of the layers that are ours. */
  readonly tree: FileTree;
  readonly bill: object;
  readonly layers: readonly Layer[];
}

interface Foundation {
  readonly layers: readonly Layer[];
  readonly tree: FileTree;
  readonly system: SystemFiles | undefined;
  readonly base: BaseImage | undefined;
}

/** Of this version: cellmesh, and the services of the example on the same layers. */
export async function buildImages(options: ImageOptions): Promise<Record<'cellmesh' | 'example', NamedImage>> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const below = await foundation(options);
  const cellmesh = await cellmeshFiles(options.dist, options.packages, options.architecture);
  const example = await exampleFiles();
  const build = async (name: string, tree: FileTree, config: object, others: readonly NpmPackage[]) => {
    const layers = [...below.layers, await layerOf(tree, `npm run image: ${name}`)];
    const description = describe(options, { name, version, layers, config });
    const image = await imageOf(description);
    const whole: FileTree = new Map([...below.tree, ...tree]);
    const bill = softwareBill({
      ...{ name, version, architecture: options.architecture, digest: image.digest },
      npm: [...bundledPackages(tree), ...others],
      ...{
        node: nodeBinary(options.packages, options.architecture).version,
        debian: below.system?.packages ?? [],
        base: below.base,
      },
      tree: whole,
    });
    return { ...image, name: description.name, bill, layers, tree: whole };
  };
  const koffi = koffiPackages(options.packages, options.architecture);
  return {
    cellmesh: await build('cellmesh', cellmesh, { Entrypoint: ['cellmesh'] }, koffi),
    example: await build('cellmesh-example', example, { Entrypoint: ['node'] }, []),
  };
}

/** Layers that change with their platform only: whoever has them gets the next version's few megabytes. */
async function foundation({ packages, architecture, base: path, keepsSymbols }: ImageOptions): Promise<Foundation> {
  const base = path === undefined ? undefined : await readBaseImage(path, architecture);
  if (base !== undefined) refuseUnfitBase(base);
  const { path: node } = nodeBinary(packages, architecture);
  const system = base === undefined ? systemFiles(node, architecture) : undefined;
  const program = keepsSymbols ? copyOf(node, true) : await stripped(node);
  const nodeTree: FileTree = new Map([['usr/bin/node', program]]);
  const nodeLayer = await layerOf(nodeTree, 'npm run image: node');
  const systemTree: FileTree = new Map([...(system?.tree ?? []), ...skeleton]);
  const layers = [...(base?.layers ?? []), await layerOf(systemTree, 'npm run image: system'), nodeLayer];
  return { layers, tree: new Map([...systemTree, ...nodeTree]), system, base };
}

function describe(
  { architecture, repository }: ImageOptions,
  { name, version, layers, config }: Pick<ImageDescription, 'name' | 'version' | 'layers' | 'config'>,
): ImageDescription {
  const labels = {
    'org.opencontainers.image.title': name,
    'org.opencontainers.image.version': version,
    'org.opencontainers.image.licenses': 'Apache-2.0',
  };
  const user = { User: `${uid}:${uid}`, Env: ['PATH=/usr/bin:/usr/sbin'], WorkingDir: '/' };
  const full = `${repository.replace(/[^/]*$/, '')}${name}:${version}`;
  return { name: full, version, architecture, layers, config: { ...user, ...config }, labels };
}

/** What programs are started with and linked to; libc and its kin come together. */
function refuseUnfitBase({ paths }: BaseImage): void {
  const names = [...paths].map((path) => path.slice(path.lastIndexOf('/') + 1));
  const needed = ['nft', 'libc.so.6', 'libstdc++.so.6', 'libgcc_s.so.1', 'libatomic.so.1'];
  const missing = needed.filter((name) => !names.includes(name));
  if (missing.length > 0) throw new Error(`the base image has no ${missing.join(', ')}: see docs/image.md`);
}

/** Named in the first line of each part of the licenses. */
function bundledPackages(tree: FileTree): NpmPackage[] {
  const licenses = [...tree].find(([path]) => path.endsWith('/LICENSES.txt'))?.[1];
  if (licenses?.kind !== 'file') throw new Error('there is no LICENSES.txt: `npm run build` writes it');
  const parts = Buffer.from(licenses.data)
    .toString()
    .split(`\n\n${'-'.repeat(80)}\n\n`);
  return parts.map((text) => {
    const [, name, version, license] = /^(\S+) (\S+) \((.+)\)$/m.exec(text) ?? [];
    if (name === undefined) throw new Error(`a part of LICENSES.txt names nothing: ${text.slice(0, 80)}`);
    return { name, version: version!, license: license! };
  });
}
