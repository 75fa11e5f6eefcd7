import { rolledOut } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** Whom the Jobs call. */
export const step: Step = (scenario) => rolledOut(scenario, 'server');
