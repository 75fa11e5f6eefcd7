import { rolledOut } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** Before there is load: who calls nobody yet is told so. */
export const step: Step = (scenario) => rolledOut(scenario, 'server');
