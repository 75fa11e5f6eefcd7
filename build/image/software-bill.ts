import type { BaseImage } from './base-image.ts';
import type { NpmPackage } from './cellmesh-files.ts';
import { type FileTree, sha256 } from './file-tree.ts';
import type { Architecture } from './oci-layout.ts';
import type { DebianPackage } from './system-files.ts';

export interface Contents {
  readonly name: string;
  readonly version: string;
  readonly architecture: Architecture;
  /** SHA-256 of the manifest. */
  readonly digest: string;
  readonly node: string;
  readonly npm: readonly NpmPackage[];
  readonly debian: readonly DebianPackage[];
  readonly base: BaseImage | undefined;
  /** Of the layers that are ours, for the digests of files. */
  readonly tree: FileTree;
}

/**
 * What is in the image, as CycloneDX 1.6 (ECMA-424) in JSON. Names are package URLs, and Node also has the name under which vulnerabilities of it are
 * published, so that scanners find it. Without a time: the same image has the same bill.
 */
export function softwareBill(contents: Contents): object {
  const { name, version, architecture, digest, base } = contents;
  const purl = `pkg:oci/${name}@sha256%3A${digest}?arch=${architecture}`;
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(digest)}`,
    version: 1,
    metadata: {
      component: {
        type: 'container',
        'bom-ref': purl,
        name,
        version,
        purl,
        licenses: [{ license: { id: 'Apache-2.0' } }],
        hashes: [{ alg: 'SHA-256', content: digest }],
      },
    },
    components: [
      nodeComponent(contents),
      ...contents.npm.map(npmComponent),
      ...contents.debian.map((one) => debianComponent(one, contents.tree)),
      ...(base === undefined ? [] : [baseComponent(base)]),
    ],
  };
}

function nodeComponent({ node, tree }: Contents): object {
  return {
    type: 'platform',
    'bom-ref': `pkg:generic/node@${node}`,
    name: 'node',
    version: node,
    purl: `pkg:generic/node@${node}`,
    cpe: `cpe:2.3:a:nodejs:node.js:${node}:*:*:*:*:*:*:*`,
    licenses: [{ license: { id: 'MIT' } }],
    ...filesOf(['usr/bin/node'], tree),
  };
}

function npmComponent({ name, version, license }: NpmPackage): object {
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  return { type: 'library', 'bom-ref': purl, name, version, purl, licenses: [{ expression: license }] };
}

/** Their terms are in the image, as `/usr/share/doc/<package>/copyright`: Debian knows no single word for them. */
function debianComponent({ name, version, architecture, paths }: DebianPackage, tree: FileTree): object {
  const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`;
  return { type: 'library', 'bom-ref': purl, name, version, purl, ...filesOf(paths, tree) };
}

function baseComponent({ id }: BaseImage): object {
  const hashes = [{ alg: 'SHA-256', content: id }];
  return { type: 'container', 'bom-ref': `sha256:${id}`, name: 'base image', version: `sha256:${id}`, hashes };
}

function filesOf(paths: readonly string[], tree: FileTree): object {
  const components = paths.flatMap((path) => {
    const entry = tree.get(path);
    if (entry?.kind !== 'file') return [];
    return [{ type: 'file', name: `/${path}`, hashes: [{ alg: 'SHA-256', content: sha256(entry.data) }] }];
  });
  return components.length > 0 ? { components } : {};
}

/** A name for these bytes (RFC 9562 5.8). */
function uuidOf(digest: string): string {
  const variant = ((Number.parseInt(digest[16]!, 16) & 3) | 8).toString(16);
  const hex = `${digest.slice(0, 12)}8${digest.slice(13, 16)}${variant}${digest.slice(17, 32)}`;
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
