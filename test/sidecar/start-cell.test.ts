import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCell } from '../support/start-cell.ts';

test('a cell that does not start leaves no server behind', async () => {
  const servers = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPServerWrap').length;
  const before = servers();
  await assert.rejects(startCell({ editManifests: () => 'kind: Nothing' }), /kind/);
  assert.equal(servers(), before);
});
