import assert from 'node:assert/strict';
import type { Scenario, Step } from '../support/scenario.ts';

async function assertCompletes(scenario: Scenario, job: string): Promise<void> {
  await scenario.kubectl('wait', '--for=condition=Complete', `job/${job}`, '--timeout=90s');
  const said = await scenario.kubectl('logs', `job/${job}`, '-c', 'app');
  assert.equal((JSON.parse(said) as { status: number }).status, 200);
}

/** The first line of the program is a call, without a second try: the sidecar was ready before it. When the program ends the pod has completed. */
export const step: Step = async (scenario) => {
  await scenario.kubectl('create', 'job', 'by-hand', '--from=cronjob/every-minute');
  await Promise.all([assertCompletes(scenario, 'once'), assertCompletes(scenario, 'by-hand')]);
};
