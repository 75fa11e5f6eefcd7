import assert from 'node:assert/strict';
import { callEcho, rolledOut } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** By the Service's name and port, as without a mesh; it arrives with its caller's identity all the same. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'server');
  await rolledOut(scenario, 'caller');
  const { headers } = await callEcho(scenario, 'deployment/caller', 'http://server:8080/hello');
  assert.equal(headers['cellmesh-caller'], `spiffe://cell-1.e2e.example/ns/${scenario.namespace}/sa/caller`);
};
