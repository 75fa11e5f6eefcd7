import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { podFields } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** The sidecar does not answer in the application's place: a probe at a port where nobody listens fails. */
export const step: Step = async (scenario) => {
  await eventually(
    async () =>
      assert.deepEqual(
        await podFields(scenario, 'app=bad', '.status.containerStatuses[*].state.running.startedAt').then(
          (all) => all.length,
        ),
        1,
      ),
    60_000,
    500,
  );
  await eventually(
    async () => assert.match(await scenario.kubectl('get', 'events'), /Readiness probe failed.*(502|503|504)/),
    30_000,
    500,
  );
  assert.deepEqual(await podFields(scenario, 'app=bad', '.status.containerStatuses[*].ready'), ['false']);
};
