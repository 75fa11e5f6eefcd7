import { gzipSync } from 'node:zlib';
import { type Entry, file, sha256, tarOf } from './file-tree.ts';

/** As the image specification names them, in Go's words. */
export type Architecture = 'amd64' | 'arm64';

/** A layer as it is in a registry. */
export interface Layer {
  readonly mediaType: string;
  readonly blob: Uint8Array;
  /** SHA-256 of the tar in it, which the image's configuration lists. */
  readonly diffId: string;
  readonly createdBy: string;
}

export interface ImageDescription {
  /** `registry.example/cellmesh:0.1.0` */
  readonly name: string;
  readonly version: string;
  readonly architecture: Architecture;
  readonly layers: readonly Layer[];
  /** `Env`, `Entrypoint` and the like. */
  readonly config: object;
  readonly labels: Readonly<Record<string, string>>;
}

export interface Image {
  /** An OCI image layout as a tar. */
  readonly archive: Uint8Array;
  /** Of the manifest: what `name@sha256:…` says. */
  readonly digest: string;
}

/** Image layout of the OCI image specification 1.1: `oci-layout`, `index.json` and blobs by their digest. */
export async function imageOf(description: ImageDescription): Promise<Image> {
  const { name, version, architecture, layers, labels } = description;
  const config = json({
    architecture,
    os: 'linux',
    config: { ...description.config, Labels: labels },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => `sha256:${diffId}`) },
    history: layers.map(({ createdBy }) => ({ created_by: createdBy })),
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: descriptor('application/vnd.oci.image.config.v1+json', config),
    layers: layers.map(({ mediaType, blob }) => descriptor(mediaType, blob)),
    annotations: labels,
  });
  const index = json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [
      {
        ...descriptor('application/vnd.oci.image.manifest.v1+json', manifest),
        platform: { architecture, os: 'linux' },
        annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': version },
      },
    ],
  });
  const blobs = [config, manifest, ...layers.map(({ blob }) => blob)];
  const files: [string, Entry][] = blobs.map((blob) => [`blobs/sha256/${sha256(blob)}`, file(blob)]);
  const archive = await tarOf(
    new Map([...files, ['index.json', file(index)], ['oci-layout', file('{"imageLayoutVersion":"1.0.0"}')]]),
  );
  return { archive, digest: sha256(manifest) };
}

/** gzip, which every runtime reads; zstd would be smaller by a tenth, and not every registry takes it. */
export async function layerOf(tree: ReadonlyMap<string, Entry>, createdBy: string): Promise<Layer> {
  const tar = await tarOf(tree);
  const blob = gzipSync(tar);
  return { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', blob, diffId: sha256(tar), createdBy };
}

function descriptor(mediaType: string, blob: Uint8Array) {
  return { mediaType, digest: `sha256:${sha256(blob)}`, size: blob.length };
}

function json(value: object): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
