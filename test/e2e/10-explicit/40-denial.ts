import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { callFrom } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** What no rule allows is refused, with an id by which the control plane says why. */
export const step: Step = async (scenario) => {
  const answer = await callFrom(
    scenario,
    'deployment/caller',
    `http://server.${scenario.namespace}:8080/hello`,
    'POST',
  );
  assert.equal(answer.status, 403, JSON.stringify(answer));
  const id = answer.headers['cellmesh-decision'];
  assert.ok(id !== undefined, JSON.stringify(answer));
  const explanation = await eventually(() => scenario.mesh.explain(id), 15_000, 500);
  assert.match(explanation, /method/i);
  assert.match(explanation, /\bPOST\b/);
};
