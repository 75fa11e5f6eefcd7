import { join } from 'node:path';
import { eventually } from '../../support/eventually.ts';
import { type Cluster, run, said } from './cluster.ts';

/** A cell that is installed in a cluster, as the command installs it. What that takes stands in this file alone. */
export interface Mesh {
  readonly namespace: string;
  readonly cellId: string;
  /** Trust domain of its workloads. */
  readonly trustDomain: string;
  /** `cellmesh ...` as an operator runs it who has the cluster's kubeconfig and kubectl. @throws Error with what it says when it fails */
  cellmesh(...args: readonly string[]): Promise<string>;
  /** What it prints on both, whether it fails or not. */
  cellmeshSaid(...args: readonly string[]): Promise<string>;
  /** Installs it, or brings it up to date, with more values over those of the test. */
  install(...more: readonly string[]): Promise<string>;
  /** Lets pods of the namespace join: its policies are taken. */
  addNamespace(namespace: string, policies: string): Promise<void>;
  /** What the control plane knows of a decision, as `cellmesh explain` says it. */
  explain(decisionId: string): Promise<string>;
  logs(): Promise<string>;
  remove(): Promise<void>;
}

const namespace = 'cellmesh';
const cellId = 'cell-1';
const trustDomain = 'cell-1.e2e.example';
const cellFile = join(import.meta.dirname, 'cell.yaml');
const command = join(import.meta.dirname, '../../../cellmesh');
/** Of the control plane. */
const replicas = 2;
/** So short that renewals and a rotation of the root happen while somebody looks. */
const settings = '{ svidLifetime: 2m, rootPublishMin: 5s }';

export async function installMesh(cluster: Cluster): Promise<Mesh> {
  const { kubectl } = cluster;
  const cellmesh = (...args: readonly string[]) => run(command, args);
  const install = (...more: readonly string[]) =>
    cellmesh(
      ...['install', 'cell', '--cell', cellFile, '--apply', '--wait', '--timeout', '2m'],
      ...['--set', `image.name=${cluster.image}`, '--set', `replicas=${replicas}`],
      ...['--set', `settings=${settings}`, ...more],
    );
  const remove = async () => {
    await cellmesh('uninstall', 'cell', '--crds', '--delete-root', '--yes');
    await kubectl(['delete', 'namespace', namespace, 'cellmesh-global', '--ignore-not-found', '--timeout=90s']);
  };
  // Of a run that was broken off.
  await remove();
  const logs = () =>
    cluster.kubectlSaid(['-n', namespace, 'logs', 'deployment/cellmesh-control-plane', '--tail=100', '--prefix']);
  await install().catch(async (cause) => {
    throw new Error(`the control plane does not start: ${cause.message}${await logs()}`, { cause });
  });
  return {
    ...{ namespace, cellId, trustDomain, cellmesh, install, logs, remove },
    cellmeshSaid: (...args) => said(command, args),
    async addNamespace(target, policies) {
      // Pods are refused until their namespace has its default service account.
      await eventually(() => kubectl(['-n', target, 'get', 'serviceaccount', 'default']), 30_000, 200);
      if (policies === '') return;
      await kubectl(['apply', '-f', '-'], policies);
      const accepted = ['wait', '--for=condition=Accepted', 'servicepolicy', '--all', '--timeout=30s'];
      await kubectl(['-n', target, ...accepted]);
    },
    explain: (decisionId) => cellmesh('explain', decisionId, '--kube'),
  };
}
