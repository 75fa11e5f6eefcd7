import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { loadCounts, loadGoesOn, podFields, rolledOut } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** Three pods are replaced, one after another, under 50 requests a second: every request is answered with 200. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'load');
  await loadGoesOn(scenario, { sent: 0, answered: 0, failed: 0, failures: {} }, 100);
  const pods = await podFields(scenario, 'app=server', '.metadata.name');
  await scenario.kubectl('rollout', 'restart', 'deployment/server');
  await rolledOut(scenario, 'server');
  await eventually(
    async () => {
      const now = await podFields(scenario, 'app=server', '.metadata.name');
      assert.deepEqual(
        now.filter((name) => pods.includes(name)),
        [],
        'pods of before',
      );
    },
    60_000,
    500,
  );
  const counts = await loadGoesOn(scenario, await loadCounts(scenario), 100);
  assert.equal(counts.failed, 0, JSON.stringify(counts));
};
