import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { loadCounts, loadGoesOn, podFields, rolledOut } from '../support/calls.ts';
import type { Scenario, Step } from '../support/scenario.ts';

const look = "fetch('http://127.0.0.1:14020/metrics').then((r) => r.text()).then((t) => console.log(t))";

/** Every sidecar renews its SVID while it serves, without a request that fails. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'load');
  await loadGoesOn(scenario, { sent: 0, answered: 0, failed: 0, failures: {} }, 100);
  const pods = await podFields(scenario, 'app in (server, load)', '.metadata.name');
  const before = await Promise.all(pods.map((pod) => svidEnds(scenario, pod)));
  await Promise.all(
    pods.map((pod, index) =>
      eventually(async () => assert.ok((await svidEnds(scenario, pod)) > before[index]!), 120_000, 2_000),
    ),
  );
  const counts = await loadGoesOn(scenario, await loadCounts(scenario), 100);
  assert.equal(counts.failed, 0, JSON.stringify(counts));
};

async function svidEnds(scenario: Scenario, pod: string): Promise<number> {
  const text = await scenario.kubectl('exec', pod, '-c', 'cellmesh-sidecar', '--', 'node', '-e', look);
  return Number(/^cellmesh_svid_not_after_seconds (\S+)$/m.exec(text)?.[1]);
}
