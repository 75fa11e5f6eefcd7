import assert from 'node:assert/strict';
import { callEcho, podFields } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** A name that stands for the pods themselves, and the address of one: the same callee, with the same identity asked for. */
export const step: Step = async (scenario) => {
  const addresses = await podFields(scenario, 'app=server', '.status.podIP');
  for (const host of ['server-headless', ...addresses.map((one) => (one.includes(':') ? `[${one}]` : one))]) {
    const { headers } = await callEcho(scenario, 'deployment/caller', `http://${host}:8080/`);
    assert.match(headers['cellmesh-caller']!, /\/sa\/caller$/);
  }
};
