import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { serializeTrustBundle } from '#certs/trust-bundle.ts';
import { systemClock } from '#runtime/clock.ts';
import { eventually } from '../../support/eventually.ts';
import { testAuthority } from '../../support/test-authority.ts';
import { type Cluster, run } from './cluster.ts';

/** A cell that is installed in a cluster. What installing one takes stands in this file alone. */
export interface Mesh {
  /** Objects of a namespace: applied, with sidecars in the pods of opted-in ones. */
  apply(namespace: string, yaml: string): Promise<void>;
  /** Lets pods of the namespace join. */
  addNamespace(namespace: string): Promise<void>;
  /** What the control plane knows of a decision, as `cellmesh explain` says it. */
  explain(decisionId: string): Promise<string>;
  logs(): Promise<string>;
  remove(): Promise<void>;
}

const namespace = 'cellmesh';
const cellId = 'cell-1';
const domains = { cell: 'cell-1.e2e.example', global: 'e2e.example' };
const objects = join(import.meta.dirname, 'mesh');
const command = join(import.meta.dirname, '../../../cellmesh');
const stateDir = '/var/lib/cellmesh/state';

/** @param policies manifests of all scenarios, by their names */
export async function installMesh(cluster: Cluster, policies: ReadonlyMap<string, string>): Promise<Mesh> {
  const { kubectl } = cluster;
  const controlPlane = (await readFile(join(objects, 'control-plane.yaml'), 'utf8')).replaceAll(
    'E2E_IMAGE',
    cluster.image,
  );
  const cell = await readFile(join(objects, 'cell.yaml'), 'utf8');
  const { bundles } = await testAuthority(systemClock, domains.global);
  const globalBundle = serializeTrustBundle(bundles.get(parseTrustDomain(domains.global))!);
  const maps = [
    configMap(namespace, 'cellmesh-manifests', { 'cell.yaml': cell, ...Object.fromEntries(policies) }),
    configMap(namespace, 'cellmesh-global-trust-bundle', { 'trust-bundle.json': globalBundle }),
  ];
  const remove = async () => {
    await kubectl(['delete', '--ignore-not-found', '--timeout=90s', '-f', '-'], controlPlane);
  };
  // Of a run that was broken off.
  await remove();
  await kubectl(['apply', '-f', '-'], [controlPlane, ...maps].join('\n---\n'));
  const logs = () => cluster.kubectlSaid(['-n', namespace, 'logs', 'deployment/cellmesh-control-plane', '--tail=100']);
  const rollOut = ['rollout', 'status', 'deployment/cellmesh-control-plane', '--timeout=60s'];
  await kubectl(['-n', namespace, ...rollOut]).catch(async (cause) => {
    throw new Error(`the control plane does not start: ${await logs()}`, { cause });
  });
  const inPod = (...args: readonly string[]) =>
    kubectl(['-n', namespace, 'exec', 'deployment/cellmesh-control-plane', '--', ...args]);
  const bundle = await inPod('node', '-p', `fs.readFileSync('${stateDir}/trust-bundle.json', 'utf8')`);
  return {
    async apply(target, yaml) {
      const injected = await run(command, ['inject', '-f', '-', ...injectorFlags(cluster.image)], yaml);
      await kubectl(['-n', target, 'apply', '-f', '-'], injected);
    },
    addNamespace: async (target) => {
      await kubectl(['apply', '-f', '-'], configMap(target, 'cellmesh-trust-bundle', { 'trust-bundle.json': bundle }));
      // Pods are refused until their namespace has its default service account.
      await eventually(() => kubectl(['-n', target, 'get', 'serviceaccount', 'default']), 30_000, 200);
    },
    explain: (decisionId) => inPod('cellmesh', 'explain', decisionId, ...operatorFlags()),
    logs,
    remove,
  };
}

function injectorFlags(image: string): string[] {
  return [
    ...['--image', image, '--cell-id', cellId, '--trust-domain', domains.cell, '--global-trust-domain', domains.global],
    ...['--control-plane', `cellmesh-control-plane.${namespace}.svc:14010`],
  ];
}

/** As the operator whose identity the control plane has made at its start. */
function operatorFlags(): string[] {
  return ['--address', '127.0.0.1:14010', '--admin', `${stateDir}/admin`];
}

function configMap(target: string, name: string, data: Readonly<Record<string, string>>): string {
  return stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: target }, data });
}
