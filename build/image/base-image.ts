import { readFile } from 'node:fs/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import { unpackTar } from 'modern-tar';
import { sha256 } from './file-tree.ts';
import type { Architecture, Layer } from './oci-layout.ts';

/** Another's image, below what is ours. */
export interface BaseImage {
  readonly layers: readonly Layer[];
  /** All paths in it, without the first slash; names of libraries are looked for here. */
  readonly paths: ReadonlySet<string>;
  /** SHA-256 of its configuration: its id, however it was packed. */
  readonly id: string;
}

type Json = Readonly<Record<string, unknown>>;
type Blobs = (name: string) => Uint8Array;

/**
 * Reads what `skopeo copy`, `crane pull`, `docker save` or `podman save` wrote: an OCI image layout, or an archive of Docker.
 * @throws Error when it is neither, or for another platform only
 */
export async function readBaseImage(path: string, architecture: Architecture): Promise<BaseImage> {
  const entries = await unpackTar(await readFile(path), { strict: true });
  const files = new Map(entries.map(({ header, data }) => [header.name.replace(/^\.\//, ''), data]));
  const blobs: Blobs = (name) => {
    const data = files.get(name);
    if (data === undefined) throw new Error(`${path} has no ${name}: it is no image archive, or not whole`);
    return data;
  };
  const { config, layers } = files.has('index.json')
    ? partsOfLayout(blobs, architecture)
    : partsOfDockerArchive(blobs, path);
  const description = parse(config);
  if (description['architecture'] !== architecture) {
    throw new Error(`${path} is an image for ${description['architecture']}, not ${architecture}`);
  }
  const tars = layers.map((blob) => (isGzip(blob) ? gunzipSync(blob) : blob));
  const contents = await Promise.all(tars.map((tar) => unpackTar(tar)));
  return {
    id: sha256(config),
    paths: new Set(contents.flat().map(({ header }) => header.name.replace(/^\.?\//, ''))),
    layers: layers.map((blob, index) => ({
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      // As they are in a registry. Docker's archives hold them unpacked.
      blob: isGzip(blob) ? blob : gzipSync(blob),
      diffId: sha256(tars[index]!),
      createdBy: 'base image',
    })),
  };
}

function partsOfLayout(blobs: Blobs, architecture: Architecture) {
  const blob = ({ digest }: Json) => blobs(`blobs/${String(digest).replace(':', '/')}`);
  let document = parse(blobs('index.json'));
  // An index may hold others, one deep, and a manifest for each platform.
  while (Array.isArray(document['manifests'])) {
    const manifests = document['manifests'] as Json[];
    const own = manifests.find(({ platform }) => (platform as Json | undefined)?.['architecture'] === architecture);
    document = parse(blob(own ?? manifests[0]!));
  }
  return { config: blob(document['config'] as Json), layers: (document['layers'] as Json[]).map(blob) };
}

function partsOfDockerArchive(blobs: Blobs, path: string) {
  const [image, ...others] = parse(blobs('manifest.json')) as unknown as { Config: string; Layers: string[] }[];
  if (image === undefined || others.length > 0) throw new Error(`${path} must hold one image`);
  return { config: blobs(image.Config), layers: image.Layers.map(blobs) };
}

function isGzip(blob: Uint8Array): boolean {
  return blob[0] === 0x1f && blob[1] === 0x8b;
}

function parse(data: Uint8Array): Json {
  return JSON.parse(Buffer.from(data).toString());
}
