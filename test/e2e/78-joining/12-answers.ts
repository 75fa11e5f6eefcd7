import { eventually } from '../../support/eventually.ts';
import { callEcho, rolledOut } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** Before there is load: until the node knows the Service, a call to its address is on its way to nobody for three seconds. */
export const step: Step = async (scenario) => {
  await rolledOut(scenario, 'server');
  await eventually(() => callEcho(scenario, 'deployment/server', 'http://server.e2e-joining:8080/hello'), 15_000, 500);
};
