import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findingsOf, reportText } from '../soak/report.ts';
import { soak } from '../soak/soak.ts';

test('a minute of everything at once through a pair of sidecars leaves nothing behind', {
  timeout: 300_000,
}, async (context) => {
  const report = await soak({ minutes: 1, onSample: () => {} });
  context.diagnostic(reportText(report));
  assert.deepEqual(findingsOf(report), []);
});
