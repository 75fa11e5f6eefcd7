import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { callEcho, podFields, rolledOut } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** SIGKILL does not reach the first process of a container from within. */
const end = "process.kill(1, 'SIGTERM')";
const restarts = '.status.initContainerStatuses[?(@.name=="cellmesh-sidecar")].restartCount';

/** The sidecar is ended while its application runs: the kubelet starts it again, it takes up its SVID, and the application was never touched. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'server');
  await rolledOut(scenario, 'caller');
  const url = `http://server.${scenario.namespace}:8080/hello`;
  await callEcho(scenario, 'deployment/caller', url);

  await scenario.kubectl('exec', 'deployment/server', '-c', 'cellmesh-sidecar', '--', 'node', '-e', end);
  await eventually(async () => assert.deepEqual(await podFields(scenario, 'app=server', restarts), ['1']), 60_000, 500);
  await eventually(() => callEcho(scenario, 'deployment/caller', url), 60_000, 500);
  const application = await podFields(scenario, 'app=server', '.status.containerStatuses[*].restartCount');
  assert.deepEqual(application, ['0']);
};
