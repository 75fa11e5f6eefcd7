import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { bytesOnDisk, decisionsOnDisk } from '#cli/recorded-decisions.ts';
import { CellPolicies } from '#policy/plan/cell-policies.ts';
import { Planner } from '#policy/plan/plan.ts';
import { compiledTexts, manifestTexts, writeManyDecisions } from '../support/many-decisions.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const count = Number(process.env['CELLMESH_PLAN_DECISIONS'] ?? 1_000_000);
const growthMax = 64 * 1024 * 1024;

/** The example, where the way to the carrier needs more than messaging may bring there, and reading less. */
function changed(): CellPolicies {
  const texts = new Map(manifestTexts);
  texts.set(
    'messaging.yaml',
    texts.get('messaging.yaml')!.replace('carry: [deliveries:create, deliveries:read]', 'carry: [deliveries:read]'),
  );
  texts.set('api.yaml', texts.get('api.yaml')!.replace('scopes: [messages:read]', 'scopes: []'));
  return new CellPolicies(compiledTexts(texts));
}

describe('a plan', () => {
  test(`of ${count.toLocaleString('en-US')} decisions takes no memory that grows with them`, {
    timeout: 3_600_000,
  }, async (context) => {
    await using directory = await temporaryDirectory();
    const begun = performance.now();
    await writeManyDecisions(directory.path, count);
    const megabytes = (await bytesOnDisk(directory.path)) / 1e6;
    context.diagnostic(`${megabytes.toFixed(0)} MB written in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
    const inForce = new CellPolicies(compiledTexts(manifestTexts));
    for (const then of [undefined, inForce]) {
      const planner = new Planner(changed());
      const heap: number[] = [];
      const start = performance.now();
      let read = 0;
      for await (const record of decisionsOnDisk(directory.path, {})) {
        planner.add(record, then);
        if (++read % Math.floor(count / 5) !== 0) continue;
        collect();
        heap.push(process.memoryUsage().heapUsed);
      }
      const rate = Math.round((count * 1000) / (performance.now() - start));
      const plan = planner.plan();
      context.diagnostic(`${rate.toLocaleString('en-US')} decisions a second, ${plan.groups.length} groups`);
      assert.equal(plan.decisions, count);
      assert.ok(plan.newlyDenied.decisions > count / 20, JSON.stringify(plan.newlyDenied));
      assert.ok(plan.newlyAllowed.decisions > count / 100, JSON.stringify(plan.newlyAllowed));
      assert.equal(plan.unreadable, 0);
      const growth = heap.at(-1)! - heap[0]!;
      context.diagnostic(`heap ${heap.map((bytes) => (bytes / 1e6).toFixed(0)).join(', ')} MB`);
      assert.ok(growth < growthMax, `the heap grew by ${growth} bytes`);
    }
  });
});
