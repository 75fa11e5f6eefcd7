import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { parse } from 'yaml';
import { eventually } from '../../support/eventually.ts';
import { percentile } from '../../support/percentile.ts';
import { openControlPlane, openOperator } from '../support/operator.ts';
import type { Step } from '../support/scenario.ts';

const count = 100;
/** What a control plane answers one operator; and nobody edits faster. */
const everyMs = 400;

/**
 * A hundred changes: from the API server's answer to the acknowledgement of the last of three sidecars, as the control plane has heard it.
 * An edit is in force everywhere within a second, 99 times of a hundred.
 */
export const step: Step = async (scenario) => {
  await using operator = await openOperator(scenario.cluster);
  await using controlPlane = await openControlPlane(scenario.cluster, scenario.mesh);
  const name = { namespace: scenario.namespace, name: 'server' };
  const object = parse(await scenario.kubectl('get', 'servicepolicy/server', '-o', 'yaml')) as {
    readonly spec: { readonly allow: readonly object[] };
  };
  const acked = async () => {
    const revisions = await controlPlane.acknowledged('policy', `/ns/${scenario.namespace}/sa/server`);
    assert.equal(revisions.size, 3);
    return revisions;
  };
  const took: number[] = [];
  for (let edit = 0; edit < count; edit++) {
    const before = await acked();
    const allow = object.spec.allow.map((rule) => ({ ...rule, name: `read-${edit}` }));
    await operator.applyPolicy(name, { ...object.spec, allow });
    const acceptedMs = performance.now();
    await eventually(
      async () => {
        const now = await acked();
        for (const [instance, revision] of before) assert.ok(now.get(instance)! > revision);
      },
      10_000,
      15,
    );
    took.push(performance.now() - acceptedMs);
    await delay(Math.max(0, acceptedMs + everyMs - performance.now()));
  }
  const [p50, p99] = [percentile(took, 0.5), percentile(took, 0.99)];
  scenario.note(`${count} applies, acknowledged by 3 sidecars: p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms`);
  assert.ok(p99 < 1_000, `p99 ${p99} ms`);
};
