import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parse } from 'yaml';
import type { Cluster } from './cluster.ts';
import type { Mesh } from './mesh.ts';

/** What a step gets: the namespace that is its scenario's alone, and what can be done in it. */
export interface Scenario {
  readonly namespace: string;
  readonly cluster: Cluster;
  readonly mesh: Mesh;
  /** In the namespace. @throws Error with what it says when it fails */
  kubectl(...args: readonly string[]): Promise<string>;
  /** A file of the scenario's folder, in the namespace. @returns what `kubectl` prints */
  apply(file: string): Promise<string>;
  /** Something that was measured, for whoever reads the report. */
  note(text: string): void;
}

/** A step in TypeScript: `export const step: Step = async (scenario) => {...}`. It throws when what it shows is not so. */
export type Step = (scenario: Scenario) => Promise<void>;

export interface Folder {
  readonly name: string;
  readonly path: string;
  /** Manifests of cellmesh, which the control plane has before anything of the scenario is there; empty when the steps bring them. */
  readonly policies: string;
  /** `10-deploy.yaml`, `20-calls.ts`, in order. */
  readonly steps: readonly string[];
}

const root = join(import.meta.dirname, '..');
const apps = join(import.meta.dirname, 'apps');

/** Folders with numbers, in order; with `E2E_ONLY` those whose names begin with it. */
export async function readFolders({ E2E_ONLY = '' }: NodeJS.ProcessEnv): Promise<Folder[]> {
  const names = (await readdir(root)).filter((name) => /^\d/.test(name) && name.startsWith(E2E_ONLY)).sort();
  return Promise.all(
    names.map(async (name) => {
      const path = join(root, name);
      const steps = (await readdir(path)).filter((file) => /^\d+-.*\.(ts|yaml)$/.test(file)).sort();
      const policies = await readFile(join(path, 'policies.yaml'), 'utf8').catch(() => '');
      return { name, path, steps, policies };
    }),
  );
}

/** Makes the namespace, with the small programs of `apps/` in a ConfigMap. */
export async function openScenario(
  folder: Folder,
  cluster: Cluster,
  mesh: Mesh,
  note: (text: string) => void,
): Promise<Scenario> {
  const manifest = await readFile(join(folder.path, 'namespace.yaml'), 'utf8');
  const namespace = (parse(manifest) as { metadata: { name: string } }).metadata.name;
  const kubectl = (...args: readonly string[]) => cluster.kubectl(['-n', namespace, ...args]);
  // Of a run that was broken off.
  await cluster.kubectl(['delete', 'namespace', namespace, '--ignore-not-found', '--timeout=90s']);
  await cluster.kubectl(['apply', '-f', '-'], manifest);
  await mesh.addNamespace(namespace, folder.policies);
  await kubectl('create', 'configmap', 'apps', `--from-file=${apps}`);
  return {
    ...{ namespace, cluster, mesh, kubectl, note },
    async apply(file) {
      const yaml = await readFile(join(folder.path, file), 'utf8');
      return await cluster.kubectl(['-n', namespace, 'apply', '-f', '-'], yaml.replaceAll('E2E_IMAGE', cluster.image));
    },
  };
}

export async function runStep(scenario: Scenario, folder: Folder, file: string): Promise<void> {
  if (file.endsWith('.yaml')) return void (await scenario.apply(file));
  const { step } = (await import(join(folder.path, file))) as { step: Step };
  return step(scenario);
}

/** Everything that a reader of a failed run asks for: pods, events, logs. */
export async function stateOf({ cluster, mesh, namespace }: Scenario): Promise<string> {
  const said = (...args: readonly string[]) => cluster.kubectlSaid(['-n', namespace, ...args]);
  const pods = (await said('get', 'pods', '-o', 'name')).split('\n').filter((line) => line.startsWith('pod/'));
  const logs = pods.map(async (pod) => {
    const text = await said('logs', pod, '--all-containers', '--prefix', '--tail=40');
    return `--- ${basename(pod)}\n${text}`;
  });
  const parts = [said('get', 'pods,jobs', '-o', 'wide'), said('get', 'events'), ...logs];
  return [...(await Promise.all(parts)), '--- control plane', await mesh.logs()].join('\n');
}

export async function closeScenario({ cluster, namespace }: Scenario): Promise<void> {
  await cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']);
}
