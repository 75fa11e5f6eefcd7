import assert from 'node:assert/strict';
import { callFrom, podFields } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** The application listens on all addresses, and who comes without an SVID does not reach it: neither at the pod nor by the Service. */
export const step: Step = async (scenario) => {
  await scenario.kubectl('wait', '--for=condition=Ready', 'pod/outsider', '--timeout=60s');
  const [address] = await podFields(scenario, 'app=server', '.status.podIP');
  for (const host of [address, `server.${scenario.namespace}.svc`]) {
    const answer = await callFrom(scenario, 'pod/outsider', `http://${host}:8080/`);
    assert.ok(answer.status === undefined, JSON.stringify(answer));
  }
};
