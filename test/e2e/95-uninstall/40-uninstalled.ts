import assert from 'node:assert/strict';
import { loadCounts, loadGoesOn, podFields, rolledOut } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** What the API server asks goes first. Pods that have a sidecar serve on under load, and are listed; policies of users stay. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'load');
  const before = await loadGoesOn(scenario, { sent: 0, answered: 0, failed: 0, failures: {} }, 100);
  const said = await scenario.mesh.cellmeshSaid('uninstall', 'cell');

  const deleted = [...said.matchAll(/^deleted +(\w+) /gm)].map(([, kind]) => kind);
  assert.deepEqual(
    deleted.slice(0, 3),
    ['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration', 'Deployment'],
    said,
  );
  const pods = await podFields(scenario, 'app in (server, load)', '.metadata.name');
  assert.equal(pods.length, 3);
  const listed = said.split('Pods with a sidecar, which serve on until they are restarted:')[1] ?? '';
  for (const pod of pods) assert.ok(listed.includes(`Pod ${scenario.namespace}/${pod}`), said);

  await scenario.cluster.kubectl(['-n', scenario.mesh.namespace, 'wait', '--for=delete', 'pods', '--all']);
  const counts = await loadGoesOn(scenario, before, 500);
  assert.equal(counts.failed, 0, JSON.stringify(counts));
  assert.equal((await loadCounts(scenario)).failed, 0);
  assert.match(await scenario.kubectl('get', 'servicepolicies'), /^server /m);
};
