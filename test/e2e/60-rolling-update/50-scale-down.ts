import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { loadCounts, loadGoesOn, podFields } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** From three pods to one, and back, under the same load. */
export const step: Step = async (scenario) => {
  const arePods = (count: number) =>
    eventually(
      async () => assert.equal((await podFields(scenario, 'app=server', '.metadata.name')).length, count),
      90_000,
      500,
    );
  await scenario.kubectl('scale', 'deployment/server', '--replicas=1');
  await arePods(1);
  await loadGoesOn(scenario, await loadCounts(scenario), 100);
  await scenario.kubectl('scale', 'deployment/server', '--replicas=3');
  await arePods(3);
  const counts = await loadGoesOn(scenario, await loadCounts(scenario), 200);
  assert.equal(counts.failed, 0, JSON.stringify(counts));
};
