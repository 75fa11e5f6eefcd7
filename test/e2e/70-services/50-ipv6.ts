import assert from 'node:assert/strict';
import { callEcho, podFields } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** Where pods have addresses of both families a pod's IPv6 address is one of the callee too; elsewhere the report says that there is nothing to see. */
export const step: Step = async (scenario) => {
  const all = await podFields(scenario, 'app=server', '.status.podIPs[*].ip');
  const addresses = all.flatMap((one) => one.split(' ')).filter((one) => one.includes(':'));
  if (addresses.length === 0) return scenario.note('50-ipv6: skipped, the cluster has no IPv6');
  for (const address of addresses) {
    const { headers } = await callEcho(scenario, 'deployment/caller', `http://[${address}]:8080/`);
    assert.match(headers['cellmesh-caller']!, /\/sa\/caller$/);
  }
};
