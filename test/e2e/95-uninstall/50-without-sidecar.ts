import assert from 'node:assert/strict';
import { podFields } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** Nothing is in the way of a new pod, and nothing is added to it. */
export const step: Step = async (scenario) => {
  await scenario.apply('late.yaml');
  await scenario.kubectl('wait', '--for=condition=Ready', 'pod/late', '--timeout=60s');
  assert.deepEqual(await podFields(scenario, 'app=late', '.spec.initContainers[*].name'), []);
};
