import assert from 'node:assert/strict';
import { callEcho, callFrom, podFields } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** From outside of the mesh by the node's address: only the port that is excluded by annotation answers. */
export const step: Step = async (scenario) => {
  await scenario.kubectl('wait', '--for=condition=Ready', 'pod/outsider', '--timeout=60s');
  const [node] = await podFields(scenario, 'app=server', '.status.hostIP');
  const portOf = (name: string) =>
    scenario.kubectl(
      ...['get', 'service', 'server-node-port', '-o', `jsonpath={.spec.ports[?(@.name=="${name}")].nodePort}`],
    );
  const { headers } = await callEcho(scenario, 'pod/outsider', `http://${node}:${await portOf('open')}/`);
  assert.equal(headers['cellmesh-caller'], undefined);
  const refused = await callFrom(scenario, 'pod/outsider', `http://${node}:${await portOf('mesh')}/`);
  assert.equal(refused.status, undefined, JSON.stringify(refused));
};
