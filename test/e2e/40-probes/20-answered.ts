import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { podFields, rolledOut } from '../support/calls.ts';
import type { Scenario, Step } from '../support/scenario.ts';

/** What an application on loopback has received, as itself says it. */
async function receivedBy(scenario: Scenario, container: string, port: number): Promise<Record<string, number>> {
  const ask = `fetch('http://127.0.0.1:${port}/received').then((r) => r.text()).then(console.log)`;
  const said = await scenario.kubectl('exec', 'deployment/server', '-c', container, '--', 'node', '-e', ask);
  return JSON.parse(said) as Record<string, number>;
}

/** Both applications listen on loopback only, where the kubelet does not come; yet they received what it asks, and the pod is ready and stays up. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'server');
  await eventually(
    async () => {
      const received = await receivedBy(scenario, 'app', 8080);
      assert.ok(received['/ready?from=kubelet']! >= 2, JSON.stringify(received));
      const others = await receivedBy(scenario, 'grpc', 8081);
      assert.ok(others['/started']! >= 1 && others['/grpc.health.v1.Health/Check']! >= 2, JSON.stringify(others));
    },
    30_000,
    500,
  );
  const restarts = await podFields(scenario, 'app=server', '.status.containerStatuses[*].restartCount');
  assert.deepEqual(restarts, ['0 0']);
};
