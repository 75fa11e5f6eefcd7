import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../bundle.ts';
import { buildImages } from './build-images.ts';
import { writeTree } from './file-tree.ts';
import type { Architecture } from './oci-layout.ts';

const usage =
  'npm run image -- [--platform amd64|arm64] [--base IMAGE.tar] [--packages DIRECTORY] [--repository NAME] [--no-strip] [--out DIRECTORY] [--tree DIRECTORY]';
const own: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';

/** Writes archives of both images, each beside its bill of materials. */
async function writeImages(): Promise<void> {
  const { values } = parseArgs({
    allowNegative: true,
    options: {
      platform: { type: 'string', default: own },
      base: { type: 'string' },
      packages: { type: 'string', default: join(root, 'node_modules') },
      repository: { type: 'string', default: 'localhost/cellmesh' },
      strip: { type: 'boolean', default: true },
      out: { type: 'string', default: join(root, 'image') },
      tree: { type: 'string' },
    },
  });
  const { platform, packages, base, repository, strip, out, tree } = values;
  if (platform !== 'amd64' && platform !== 'arm64') throw new Error(`--platform must be amd64 or arm64: ${usage}`);
  const dist = join(root, 'dist');
  const images = await buildImages({ dist, packages, architecture: platform, base, repository, keepsSymbols: !strip });
  // For the Dockerfile: the files alone, to be copied.
  if (tree !== undefined) return await writeTree(images.cellmesh.tree, tree);
  await mkdir(out, { recursive: true });
  for (const { name, digest, archive, bill, layers } of Object.values(images)) {
    const path = join(out, `${basename(name).replace(':', '-')}-${platform}`);
    await writeFile(`${path}.tar`, archive);
    await writeFile(`${path}.cdx.json`, `${JSON.stringify(bill, undefined, 2)}\n`);
    const parts = layers.map(({ createdBy, blob }) => `  ${megabytes(blob.length)}  ${createdBy}\n`);
    process.stdout.write(
      `${name}@sha256:${digest}\n  ${megabytes(archive.length)}  ${relative('', path)}.tar\n${parts.join('')}`,
    );
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`.padStart(9);
}

try {
  await writeImages();
} catch (error) {
  process.stderr.write(`image: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
