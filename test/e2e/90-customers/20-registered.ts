import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import type { Step } from '../support/scenario.ts';

const bundle = ['-o', 'jsonpath={.data.trust-bundle\\.json}'];

/** Each is told the other's roots: identity the cell's, by `cells register`, and the cell identity's, among its values. */
export const step: Step = async ({ cluster, mesh }) => {
  await using directory = await temporaryDirectory();
  const ofCell = join(directory.path, 'trust-bundle.json');
  const own = ['-n', mesh.namespace, 'get', 'configmap/cellmesh-trust-bundle', ...bundle];
  await writeFile(ofCell, await cluster.kubectl(own));
  await mesh.cellmesh(
    ...['cells', 'register', mesh.cellId, '--kube', '--trust-domain', mesh.trustDomain, '--trust-bundle', ofCell],
    ...['--control-plane', `cellmesh-control-plane.${mesh.namespace}.svc:14010`],
  );
  const global = ['-n', 'cellmesh-global', 'get', 'configmap/cellmesh-global-trust-bundle', ...bundle];
  const trustBundle = await cluster.kubectl(global);
  const values = join(directory.path, 'values.yaml');
  const address = 'cellmesh-identity.cellmesh-global.svc:14030';
  await writeFile(values, stringify({ identity: { address, trustBundle } }));
  await mesh.install('--values', values);
  const router = ['rollout', 'status', 'deployment/cellmesh-router', '--timeout=60s'];
  await cluster.kubectl(['-n', 'cellmesh-global', ...router]);
};
