import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCell } from '../support/start-cell.ts';

test('a cell without identity has no customers, and its sidecars wait for no keys of tokens', async () => {
  await using cell = await startCell({ controlPlaneFlags: { identity: undefined } });
  await cell.whenReady();
  assert.deepEqual(cell.controlPlane.notReady(), []);
  const answer = await cell.callAsRouter({ path: '/v1/messages', token: await cell.mint() });
  assert.equal(answer.status, 401);
});
