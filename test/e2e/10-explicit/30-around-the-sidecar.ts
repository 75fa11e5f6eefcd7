import assert from 'node:assert/strict';
import { callFrom, podFields } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** The application listens on loopback: at the pod's address nobody answers but the sidecar, and it asks for an SVID first. */
export const step: Step = async (scenario) => {
  const [address] = await podFields(scenario, 'app=server', '.status.podIP');
  await scenario.kubectl('wait', '--for=condition=Ready', 'pod/outsider', '--timeout=60s');
  const application = await callFrom(scenario, 'pod/outsider', `http://${address}:8080/`);
  assert.equal(application.error, 'ECONNREFUSED', JSON.stringify(application));
  const sidecar = await callFrom(scenario, 'pod/outsider', `http://${address}:14006/`);
  assert.notEqual(sidecar.status, 200, JSON.stringify(sidecar));
};
