import assert from 'node:assert/strict';
import { stringify } from 'yaml';
import { eventually } from '../../support/eventually.ts';
import { callEcho, callFrom } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';
import { serverPolicy } from './server-policy.ts';

const url = 'http://server.e2e-joining:8080/hello';

/** The policy says it no more: whoever has no sidecar hears nothing, and who has one notices nothing. */
export const step: Step = async (scenario) => {
  await scenario.cluster.kubectl(['apply', '-f', '-'], stringify(serverPolicy()));
  await eventually(
    async () => {
      const answer = await callFrom(scenario, 'deployment/load', url);
      assert.equal(answer.status, undefined, JSON.stringify(answer));
    },
    15_000,
    500,
  );
  await callEcho(scenario, 'deployment/caller', url);
};
