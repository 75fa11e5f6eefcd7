import assert from 'node:assert/strict';
import { stringify } from 'yaml';
import { eventually } from '../../support/eventually.ts';
import { loadCounts, loadGoesOn, podFields, rolledOut } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';
import { serverPolicy } from './server-policy.ts';

const look = "fetch('http://127.0.0.1:14020/metrics').then((r) => r.text()).then((t) => console.log(t))";
const annotations = { 'cellmesh.io/mode': 'transparent' };
const joined = { metadata: { labels: { 'cellmesh.io/inject': null }, annotations } };

/** The service gets its sidecars, pod by pod, while its caller without one goes on: no request fails, and each sidecar counts who comes so. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'load');
  await eventually(async () => assert.ok((await loadCounts(scenario)).answered > 20), 30_000, 500);
  const until = new Date(Date.now() + 7 * 86_400_000).toISOString();
  const policy = serverPolicy({ inbound: { mode: 'observe-plaintext', until } });
  await scenario.cluster.kubectl(['apply', '-f', '-'], stringify(policy));
  await scenario.kubectl('patch', 'deployment/server', '--patch', JSON.stringify({ spec: { template: joined } }));
  await rolledOut(scenario, 'server');
  const sidecars = async () => {
    const names = await podFields(scenario, 'app=server', '.spec.initContainers[*].name');
    assert.deepEqual(names, ['cellmesh-init cellmesh-sidecar', 'cellmesh-init cellmesh-sidecar']);
  };
  await eventually(sidecars, 60_000, 500);
  const counts = await loadGoesOn(scenario, await loadCounts(scenario), 100);
  assert.equal(counts.failed, 0, JSON.stringify(counts));
  for (const pod of await podFields(scenario, 'app=server,!cellmesh.io/inject', '.metadata.name')) {
    const metrics = await scenario.kubectl('exec', pod, '-c', 'cellmesh-sidecar', '--', 'node', '-e', look);
    assert.match(metrics, /^cellmesh_requests_total\{.*peer="unmeshed".*\} [1-9]/m);
  }
};
