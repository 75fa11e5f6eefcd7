import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readYamlStream } from '#runtime/yaml-stream.ts';
import { cellFiles } from './cell-objects.ts';
import { cellValues } from './cell-values.ts';
import { globalFiles } from './global-objects.ts';
import { globalValues } from './global-values.ts';
import type { Component, InstallationFiles, Release } from './pod-parts.ts';
import { type Plain, plain, type Tree } from './tree.ts';
import type { Fields } from './values.ts';

/** What can be installed. */
export interface Installation {
  readonly name: 'cell' | 'global';
  readonly summary: string;
  readonly namespace: string;
  readonly fields: Fields;
  /** Its kinds of objects come with it. */
  readonly hasDefinitions: boolean;
  readonly components: readonly Component[];
  readonly files: (values: never, release: Release) => InstallationFiles;
}

export const installations: Readonly<Record<'cell' | 'global', Installation>> = {
  cell: {
    name: 'cell',
    summary: 'the control plane of a cell, with the webhook that injects sidecars',
    namespace: 'cellmesh',
    fields: cellValues,
    hasDefinitions: true,
    components: ['control-plane'],
    files: cellFiles,
  },
  global: {
    name: 'global',
    summary: 'identity and routers, what all cells have in common',
    namespace: 'cellmesh-global',
    fields: globalValues,
    hasDefinitions: false,
    components: ['identity', 'router'],
    files: globalFiles,
  },
};

/** An object of Kubernetes, whatever its kind. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** `k8s/crds`, in a checkout and in a package. */
const definitionsDirectory = join(import.meta.dirname.replace(/\/(src\/cli\/install|dist)$/, ''), 'k8s/crds');
const podSecurity = 'pod-security.kubernetes.io';

/** What reading values gives, and `defaultsOf`. */
type AnyValues = Readonly<Record<string, unknown>>;

/** The namespace of an installation: what is not fit for the strictest profile of Pod Security does not run there. */
export function namespaceObject(release: Release): Tree {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name: release.namespace,
      labels: {
        'app.kubernetes.io/part-of': 'cellmesh',
        'app.kubernetes.io/managed-by': release.managedBy,
        [`${podSecurity}/enforce`]: 'restricted',
        [`${podSecurity}/warn`]: 'restricted',
      },
    },
  };
}

/** By the files of the chart; namespace and definitions are none of them. */
export function objectsOf(
  installation: Installation,
  values: AnyValues,
  release: Release,
): ReadonlyMap<string, readonly KubernetesObject[]> {
  const files = Object.entries(installation.files(values as never, release));
  return new Map(files.map(([file, tree]) => [file, known(tree) as readonly KubernetesObject[]]));
}

export function known(tree: Tree): Plain {
  return plain(tree, (text) => createHash('sha256').update(text).digest('hex'));
}

/** The CustomResourceDefinitions of the mesh. */
export async function definitions(): Promise<KubernetesObject[]> {
  const files = (await readdir(definitionsDirectory)).filter((name) => name !== 'kustomization.yaml').sort();
  const texts = await Promise.all(files.map((name) => readFile(join(definitionsDirectory, name), 'utf8')));
  return texts.flatMap((text, index) =>
    readYamlStream(text, files[index]!).map(({ value }) => value as KubernetesObject),
  );
}
