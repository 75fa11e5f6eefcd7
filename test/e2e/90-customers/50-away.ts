import assert from 'node:assert/strict';
import type { Step } from '../support/scenario.ts';

/** Identity and routers go; roots and keys only with `--delete-root`. The cell is one without customers again. */
export const step: Step = async ({ cluster, mesh }) => {
  assert.match(await mesh.cellmesh('uninstall', 'global'), /Kept, since it holds roots and keys/);
  await mesh.cellmesh('uninstall', 'global', '--delete-root');
  await cluster.kubectl(['delete', 'namespace', 'cellmesh-global', '--timeout=90s']);
  await cluster.kubectl(['delete', 'persistentvolume', 'cellmesh-e2e-identity', '--ignore-not-found']);
  await mesh.install();
};
