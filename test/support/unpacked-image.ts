import { createHash } from 'node:crypto';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { unpackTar } from 'modern-tar';

interface UnpackedFile {
  readonly type: string;
  readonly mode: number;
  readonly target: string | undefined;
  readonly data: Uint8Array;
  /** Byte for character. */
  readonly text: string;
}

interface ImageConfig {
  readonly config: { readonly Entrypoint?: readonly string[]; readonly User?: string };
  readonly rootfs: { readonly diff_ids: readonly string[] };
}

export interface UnpackedImage {
  /** What is against the image specification; empty when nothing is. */
  readonly problems: readonly string[];
  readonly manifestDigest: string;
  readonly config: ImageConfig;
  /** Of all layers, by path without the first slash. */
  readonly files: ReadonlyMap<string, UnpackedFile>;
  writeTo(directory: string): Promise<void>;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** Reads an OCI image layout with other code than wrote it: names, digests and sizes are looked at. */
export async function unpackImage(archive: Uint8Array): Promise<UnpackedImage> {
  const problems: string[] = [];
  const entries = new Map((await unpackTar(archive, { strict: true })).map(({ header, data }) => [header.name, data]));
  const layout = JSON.parse(text(entries.get('oci-layout')));
  if (layout.imageLayoutVersion !== '1.0.0') problems.push('oci-layout has no version');
  const referred = new Set<string>();
  const blob = ({ digest, size }: Descriptor): Uint8Array => {
    const name = `blobs/${digest.replace(':', '/')}`;
    const data = entries.get(name) ?? new Uint8Array();
    referred.add(name);
    if (digestOf(data) !== digest) problems.push(`${name} has another digest`);
    if (data.length !== size) problems.push(`${name} has another size`);
    return data;
  };
  const [entry] = JSON.parse(text(entries.get('index.json'))).manifests as [Descriptor];
  const manifest = JSON.parse(text(blob(entry))) as { config: Descriptor; layers: Descriptor[] };
  const config = JSON.parse(text(blob(manifest.config))) as ImageConfig;
  const tars = manifest.layers.map((layer) => gunzipSync(blob(layer)));
  if (tars.map(digestOf).join() !== config.rootfs.diff_ids.join()) problems.push('diff_ids are others');
  const spare = [...entries.keys()].filter((name) => /^blobs\/sha256\/./.test(name) && !referred.has(name));
  problems.push(...spare.map((name) => `${name} is of nothing`));
  const files = new Map((await Promise.all(tars.map(filesOf))).flat());
  return {
    ...{ problems, config, files, manifestDigest: entry.digest.slice('sha256:'.length) },
    writeTo: (directory) => writeFiles(files, directory),
  };
}

async function filesOf(tar: Uint8Array): Promise<[string, UnpackedFile][]> {
  return (await unpackTar(tar, { strict: true })).map(({ header, data = new Uint8Array() }) => [
    header.name.replace(/\/$/, ''),
    {
      ...{ type: header.type ?? 'file', mode: header.mode ?? 0, target: header.linkname, data },
      text: Buffer.from(data).toString('latin1'),
    },
  ]);
}

async function writeFiles(files: UnpackedImage['files'], directory: string): Promise<void> {
  for (const [path, { type, mode, target, data }] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const place = join(directory, path);
    await mkdir(dirname(place), { recursive: true });
    if (type === 'directory') await mkdir(place, { recursive: true, mode });
    else if (type === 'symlink') await symlink(target!, place);
    else await writeFile(place, data, { mode });
  }
}

function digestOf(data: Uint8Array): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}

function text(data: Uint8Array | undefined): string {
  return Buffer.from(data ?? []).toString();
}
