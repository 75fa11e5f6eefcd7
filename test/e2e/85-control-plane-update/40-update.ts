import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { loadCounts, loadGoesOn, rolledOut } from '../support/calls.ts';
import { openOperator } from '../support/operator.ts';
import type { Step } from '../support/scenario.ts';

const everyMs = 100;

/** All replicas are replaced while pods are created, ten a second, and calls go on: none is refused, each gets its sidecar, no request fails. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'load');
  await loadGoesOn(scenario, { sent: 0, answered: 0, failed: 0, failures: {} }, 50);
  await using operator = await openOperator(scenario.cluster);
  const ofMesh = (...args: readonly string[]) => scenario.cluster.kubectl(['-n', scenario.mesh.namespace, ...args]);
  let isOver = false;
  const outcomes: string[] = [];
  const creating = (async () => {
    while (!isOver) {
      outcomes.push(await operator.tryPod(scenario.namespace).catch(({ message }: Error) => message));
      await delay(everyMs);
    }
  })();
  await ofMesh('rollout', 'restart', 'deployment/cellmesh-control-plane');
  await ofMesh('rollout', 'status', 'deployment/cellmesh-control-plane', '--timeout=120s');
  await loadGoesOn(scenario, await loadCounts(scenario), 300);
  isOver = true;
  await creating;

  assert.deepEqual(
    outcomes.filter((outcome) => outcome !== 'cellmesh-sidecar'),
    [],
  );
  scenario.note(`${outcomes.length} pods were created while both replicas were replaced`);
  assert.ok(outcomes.length > 50, `${outcomes.length}`);
  const counts = await loadCounts(scenario);
  assert.equal(counts.failed, 0, JSON.stringify(counts));
};
