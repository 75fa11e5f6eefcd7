import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { rolledOut } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** The status says what became of an object: it is accepted, and at every pod; `kubectl get` shows it in columns. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'server');
  await rolledOut(scenario, 'caller');
  await scenario.kubectl('wait', '--for=condition=Programmed', 'servicepolicy/server', '--timeout=30s');
  const pods = () => scenario.kubectl('get', 'servicepolicy/server', '-o', 'jsonpath={.status.pods}');
  await eventually(async () => assert.deepEqual(JSON.parse(await pods()), { total: 3, programmed: 3 }), 30_000, 500);
  const [head = '', ...rows] = (await scenario.kubectl('get', 'servicepolicies')).trim().split('\n');
  assert.match(head, /^NAME +SERVICE ACCOUNT +MODE +ACCEPTED +PROGRAMMED +PODS +AGE *$/);
  assert.match(rows.join('\n'), /^server +server +enforce +True +3 +3 /m);
};
