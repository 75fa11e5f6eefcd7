import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import type { Step } from '../support/scenario.ts';

/** A pod that is told to go still calls out, seconds after its sidecar began to drain, and is answered: the sidecar goes last. */
export const step: Step = async (scenario) => {
  const logs = () => scenario.kubectl('logs', 'pod/last', '-c', 'app');
  await eventually(async () => assert.match(await logs(), /first line: 200/), 60_000, 500);
  const followed = scenario.kubectl('logs', '-f', 'pod/last', '-c', 'app');
  await scenario.kubectl('delete', 'pod/last', '--wait=true', '--timeout=60s');
  assert.equal((await followed).trim(), 'first line: 200\nlast line: 200');
};
