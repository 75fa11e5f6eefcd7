import assert from 'node:assert/strict';
import { callEcho, rolledOut } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

const url = 'http://server.e2e-joining:8080/hello';

/** Who has a sidecar is known by it; who has none is nobody, and the application is told nothing of it. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'caller');
  const known = await callEcho(scenario, 'deployment/caller', url);
  assert.equal(known.headers['cellmesh-caller'], `spiffe://${scenario.mesh.trustDomain}/ns/e2e-joining/sa/caller`);
  const unknown = await callEcho(scenario, 'deployment/load', url);
  assert.equal(unknown.headers['cellmesh-caller'], undefined);
};
