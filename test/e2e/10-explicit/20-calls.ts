import assert from 'node:assert/strict';
import { callEcho, podFields, rolledOut } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** Pods have joined by their projected tokens; a call arrives with its caller's identity, which no header of the caller can claim. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'server');
  await rolledOut(scenario, 'caller');
  const { headers } = await callEcho(scenario, 'deployment/caller', `http://server.${scenario.namespace}:8080/hello`);
  assert.equal(headers['cellmesh-caller'], `spiffe://cell-1.e2e.example/ns/${scenario.namespace}/sa/caller`);

  const contexts = await podFields(scenario, 'app=server', '.spec.initContainers[*].securityContext.runAsNonRoot');
  assert.deepEqual(contexts, ['true'], 'one container was added, and it is not root');
};
