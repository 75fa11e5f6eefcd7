import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { podFields } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** Somebody says that it is meant: the pod is taken, with its sidecar, which waits for a policy. */
export const step: Step = async (scenario) => {
  const annotations = { 'cellmesh.io/allow-default-service-account': 'true' };
  const patch = JSON.stringify({ spec: { template: { metadata: { annotations } } } });
  await scenario.kubectl('patch', 'deployment/server', '--patch', patch);
  await eventually(
    async () => {
      const sidecars = await podFields(scenario, 'app=server', '.spec.initContainers[*].name');
      assert.deepEqual(sidecars, ['cellmesh-sidecar']);
    },
    30_000,
    500,
  );
};
