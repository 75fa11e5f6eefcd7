import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { loadCounts, loadGoesOn, podFields, rolledOut } from '../support/calls.ts';
import type { Scenario, Step } from '../support/scenario.ts';

/** The root is replaced while pods run, from its first publication to the end of the old one: no request fails, and new pods join below the new one. */
export const step: Step = async (scenario) => {
  const before = await roots(scenario);
  const startedMs = performance.now();
  const said = await scenario.mesh.cellmesh('certs', 'rotate-root', '--kube', '--wait');
  scenario.note(
    `a root rotated in ${((performance.now() - startedMs) / 1000).toFixed(0)} s, with SVIDs of two minutes`,
  );
  assert.match(said, /^published: .*^activated: .*^retired: one root is left/ms);

  await eventually(
    async () => {
      const now = await roots(scenario);
      assert.equal(now.length, 1);
      assert.notDeepEqual(now, before);
    },
    15_000,
    500,
  );
  await scenario.kubectl('scale', 'deployment/server', '--replicas=3');
  await rolledOut(scenario, 'server');
  assert.equal((await podFields(scenario, 'app=server', '.metadata.name')).length, 3);
  const counts = await loadGoesOn(scenario, await loadCounts(scenario), 200);
  assert.equal(counts.failed, 0, JSON.stringify(counts));
};

/** As new pods of the namespace get them. */
async function roots(scenario: Scenario): Promise<string[]> {
  const path = 'jsonpath={.data.trust-bundle\\.json}';
  const text = await scenario.kubectl('get', 'configmap/cellmesh-trust-bundle', '-o', path);
  const { keys } = JSON.parse(text) as { keys: { use: string; x5c?: string[] }[] };
  return keys.filter(({ use }) => use === 'x509-svid').map(({ x5c }) => x5c?.[0] ?? '');
}
