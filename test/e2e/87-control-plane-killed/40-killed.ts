import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { loadCounts, loadGoesOn, rolledOut } from '../support/calls.ts';
import { openOperator } from '../support/operator.ts';
import type { Scenario, Step } from '../support/scenario.ts';

/** First the replica that follows, then the one that leads, is killed: calls go on, pods get sidecars, edits come into force, and another leads. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'load');
  await loadGoesOn(scenario, { sent: 0, answered: 0, failed: 0, failures: {} }, 50);
  for (const whom of ['follower', 'leader'] as const) {
    const leader = await leaderOf(scenario);
    const pods = await replicas(scenario);
    assert.equal(pods.length, 2);
    const victim = pods.find((pod) => (pod === leader) === (whom === 'leader'))!;
    await ofMesh(scenario, 'delete', 'pod', victim, '--grace-period=0', '--force');
    await servesOn(scenario, whom);
    if (whom === 'leader') await eventually(async () => assert.notEqual(await leaderOf(scenario), leader), 30_000, 500);
    await ofMesh(scenario, 'rollout', 'status', 'deployment/cellmesh-control-plane', '--timeout=120s');
  }
  const counts = await loadGoesOn(scenario, await loadCounts(scenario), 200);
  assert.equal(counts.failed, 0, JSON.stringify(counts));
};

/** With the replica that is left. */
async function servesOn(scenario: Scenario, whom: string): Promise<void> {
  await using operator = await openOperator(scenario.cluster);
  await eventually(
    async () => assert.equal(await operator.tryPod(scenario.namespace), 'cellmesh-sidecar'),
    15_000,
    200,
  );
  const sidecars = ['server', 'server'];
  const allow = [
    {
      ...{ name: `read-without-${whom}`, from: [`${scenario.namespace}/caller`], account: 'none' },
      http: { methods: ['GET'], paths: ['/**'] },
    },
  ];
  const patch = JSON.stringify({ spec: { allow } });
  await eventually(
    () => scenario.kubectl('patch', 'servicepolicy/server', '--type=merge', '--patch', patch),
    15_000,
    500,
  );
  const generation = await scenario.kubectl('get', 'servicepolicy/server', '-o', 'jsonpath={.metadata.generation}');
  // Whoever leads says so; after the leader's end that is another, when the Lease has run out.
  await eventually(
    async () => {
      const path = 'jsonpath={.status.observedGeneration} {.status.pods.programmed}';
      const said = await scenario.kubectl('get', 'servicepolicy/server', '-o', path);
      assert.equal(said, `${generation} ${sidecars.length}`);
    },
    45_000,
    500,
  );
}

async function leaderOf(scenario: Scenario): Promise<string> {
  return ofMesh(scenario, 'get', 'lease/cellmesh-control-plane', '-o', 'jsonpath={.spec.holderIdentity}');
}

async function replicas(scenario: Scenario): Promise<string[]> {
  const label = 'app.kubernetes.io/component=control-plane';
  const names = await ofMesh(scenario, 'get', 'pods', '-l', label, '-o', 'jsonpath={.items[*].metadata.name}');
  return names.split(' ');
}

function ofMesh({ cluster, mesh }: Scenario, ...args: readonly string[]): Promise<string> {
  return cluster.kubectl(['-n', mesh.namespace, ...args]);
}
