import assert from 'node:assert/strict';
import { callEcho, podFields, rolledOut } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** By the Service's address the sidecar finds the callee, and chooses among its pods by itself: connections of the caller are not pinned to one. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'server');
  await rolledOut(scenario, 'caller');
  const address = await scenario.kubectl('get', 'service', 'server', '-o', 'jsonpath={.spec.clusterIP}');
  const host = address.includes(':') ? `[${address}]` : address;
  const reached = new Set<string>();
  const pods = await podFields(scenario, 'app=server', '.metadata.name');
  for (let call = 0; call < 20 && reached.size < pods.length; call++) {
    const { pod, headers } = await callEcho(scenario, 'deployment/caller', `http://${host}:8080/`);
    assert.match(headers['cellmesh-caller']!, /\/sa\/caller$/);
    reached.add(pod!);
  }
  assert.deepEqual([...reached].sort(), pods.sort());
};
