import assert from 'node:assert/strict';
import { callFrom } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** What a caller's manifest does not declare it does not reach, whatever its address: here the API server. */
export const step: Step = async (scenario) => {
  const answer = await callFrom(scenario, 'deployment/caller', 'http://kubernetes.default.svc:443/');
  assert.ok(answer.status === undefined || answer.status === 403, JSON.stringify(answer));
};
