import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { podFields } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** Whoever made the Deployment finds the reason where the API server tells the controller. */
export const step: Step = async (scenario) => {
  const ofReplicaSets = ['get', 'events', '--field-selector', 'involvedObject.kind=ReplicaSet'];
  const events = await eventually(
    async () => {
      const said = await scenario.kubectl(...ofReplicaSets);
      assert.match(said, /FailedCreate/);
      return said;
    },
    30_000,
    500,
  );
  assert.match(events, /admission webhook "inject\.cellmesh\.io" denied the request: pod e2e-default-account\/server-/);
  assert.match(events, /it runs as the service account `default`, which every pod of the namespace may be/);
  assert.match(events, /cellmesh\.io\/allow-default-service-account/);
  assert.deepEqual(await podFields(scenario, 'app=server', '.metadata.name'), []);
};
