import assert from 'node:assert/strict';
import { platform } from 'node:os';
import { test } from 'node:test';
import { storedDecisions } from '#cli/recorded-decisions.ts';
import type { HttpResponse } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { startCell } from '../support/start-cell.ts';

const threads = platform() === 'linux' ? 2 : 1;

test('the first permit of each edge is reported though none else is, by each thread once', async () => {
  const sidecarFlags = { reportedPermits: '0', workers: String(threads) };
  await using cell = await startCell({ sidecarFlags });
  const token = await cell.mint();
  const calls = await Promise.all(Array.from({ length: 20 }, () => cell.callAsRouter({ token })));
  for (const { status } of calls) assert.equal(status, 200);
  const denied = await cell.callAsRouter({ token, method: 'DELETE', path: '/nowhere' });
  assert.equal(denied.status, 403);
  using admin = await cell.client();
  const ofTheRouter = await eventually(async () => {
    const records = await Array.fromAsync(storedDecisions([admin], {}));
    const inbound = records.filter(({ direction, service }) => direction === 'inbound' && service === 'messaging/api');
    assert.ok(inbound.some(({ outcome }) => outcome === 'deny'));
    const permits = inbound.filter(({ outcome }) => outcome === 'permit');
    assert.ok(permits.length > 0);
    return permits;
  });
  assert.ok(ofTheRouter.length <= threads, `${ofTheRouter.length} of one edge`);
});

test('denials of a sidecar that was alone, and is another process since, come to the control plane', async () => {
  await using cell = await startCell();
  await cell.stopControlPlane();
  const token = await cell.mint();
  const answers: HttpResponse[] = [];
  for (let n = 0; n < 50; n++)
    answers.push(await cell.callAsRouter({ token, method: 'DELETE', path: `/nowhere/${n}` }));
  const permitted = await cell.callAsRouter({ token });
  assert.equal(permitted.status, 200);
  await cell.services.api.stopSidecar();
  await cell.services.api.startSidecar();
  await cell.startControlPlane();
  using admin = await cell.client();
  await eventually(async () => {
    const denials = await Array.fromAsync(storedDecisions([admin], { denialsOnly: true }));
    const ids = denials.filter(({ service }) => service === 'messaging/api').map(({ id }) => id);
    const expected = answers.map(({ headers }) => headers['cellmesh-decision']);
    assert.deepEqual(ids.sort(), expected.sort());
  });
});
