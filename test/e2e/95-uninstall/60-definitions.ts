import assert from 'node:assert/strict';
import type { Step } from '../support/scenario.ts';

const definitions = ['get', 'crds', '-o', 'name'];

/** The kinds of objects go with `--crds` alone, and while there are objects of users only when they agree to lose them. */
export const step: Step = async ({ cluster, mesh }) => {
  assert.match(await cluster.kubectl(definitions), /cellmesh\.io/);
  await assert.rejects(mesh.cellmesh('uninstall', 'cell', '--crds'), /\d+ ServicePolicies and 1 Cells would be lost/);
  assert.match(await cluster.kubectl(definitions), /servicepolicies\.cellmesh\.io/);
  await mesh.cellmesh('uninstall', 'cell', '--crds', '--yes');
  assert.doesNotMatch(await cluster.kubectl(definitions), /cellmesh\.io/);
};
