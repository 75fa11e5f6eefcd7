import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemRandom } from '#runtime/random.ts';
import { askAdminSocket, sidecarState } from '../support/admin-socket.ts';
import { callHttp, type Handler } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { startLoad } from '../support/load.ts';
import { type Cell, startCell } from '../support/start-cell.ts';

/** An application that answers when the test says so. */
function held(): { handler: Handler; begun: Promise<void>; answer: () => void } {
  const begun = Promise.withResolvers<void>();
  const wanted = Promise.withResolvers<void>();
  const handler: Handler = async () => {
    begun.resolve();
    await wanted.promise;
    return { status: 200, body: 'late' };
  };
  return { handler, begun: begun.promise, answer: wanted.resolve };
}

/** `messaging` calls `delivery` for itself. */
const calls = (text: string) =>
  text.replace('{ to: messaging/delivery, carry: [messages:write] }', '{ to: messaging/delivery, carry: [] }');
const allowed = (text: string) =>
  calls(text).replace(
    '- { name: peek, from: [messaging/messaging]',
    '- { name: self, from: [messaging/messaging], http: { paths: [/self] }, account: none }\n    - { name: peek, from: [messaging/messaging]',
  );
const out = { authority: 'delivery', path: '/self' };

async function callMessaging(cell: Cell) {
  const token = await cell.mint();
  return cell.callAsRouter({ token, path: '/v1/messages' });
}

/** A cell in which `messaging` has begun to work on a request. */
async function startWithRequest() {
  const application = held();
  const cell = await startCell({
    handlers: { messaging: application.handler },
    editManifests: allowed,
    sidecarFlags: { drain: '3s' },
  });
  const inFlight = callMessaging(cell);
  await application.begun;
  const { answer } = application;
  return {
    cell,
    messaging: cell.services.messaging,
    answer,
    inFlight,
    [Symbol.asyncDispose]: () => cell[Symbol.asyncDispose](),
  };
}

async function instancesThatApiKnows(cell: Cell): Promise<string> {
  return JSON.stringify((await sidecarState(cell.services.api.stateDir))['endpoints']);
}

describe('a native sidecar, told by its preStop hook', () => {
  test('finishes what it serves, is chosen no more, and goes on calling for its application until SIGTERM', async () => {
    await using started = await startWithRequest();
    const { cell, messaging, answer, inFlight } = started;
    const port = messaging.sidecar.ports.inbound!;
    const hook = askAdminSocket(messaging.stateDir, '/drain', 'POST');
    let isDrained = false;
    void hook.then(() => {
      isDrained = true;
    });
    await eventually(async () =>
      assert.doesNotMatch(await instancesThatApiKnows(cell), new RegExp(`"port":${port}\\b`)),
    );
    assert.match(messaging.sidecar.notReady().join(), /draining: this instance goes away/);
    assert.equal((await callHttp({ port: messaging.sidecar.ports.health!, path: '/readyz' })).status, 503);
    assert.equal((await messaging.call(out)).status, 200, 'its application still calls');
    assert.equal(isDrained, false, 'a request is in flight');
    answer();
    assert.equal((await inFlight).status, 200);
    assert.equal((await hook).status, 200);
    assert.equal((await messaging.call(out)).status, 200, 'and goes on doing so');
    // SIGTERM, when the application has ended.
    await messaging.application[Symbol.asyncDispose]();
    const startedAt = performance.now();
    await messaging.stopSidecar();
    assert.ok(performance.now() - startedAt < 5_000, 'nobody is left to wait for');
  });
});

describe('a sidecar that only gets SIGTERM', () => {
  test('finishes what it serves, and calls for its application until that has ended too', async () => {
    await using started = await startWithRequest();
    const { messaging, answer, inFlight } = started;
    const outbound = messaging.sidecar.ports.outbound!;
    const stopped = messaging.stopSidecar();
    await eventually(() => assert.match(messaging.sidecar.notReady().join(), /draining/));
    answer();
    assert.equal((await inFlight).status, 200);
    for (let i = 0; i < 5; i++) assert.equal((await callHttp({ port: outbound, ...out })).status, 200, `call ${i}`);
    await messaging.application[Symbol.asyncDispose]();
    await stopped;
    await assert.rejects(callHttp({ port: outbound, ...out }), /ECONNREFUSED/);
  });

  test('waits for its application no longer than it may', async () => {
    await using cell = await startCell({ sidecarFlags: { drain: '400ms' } });
    const startedAt = performance.now();
    await cell.services.messaging.stopSidecar();
    const tookMs = performance.now() - startedAt;
    assert.ok(tookMs >= 400 && tookMs < 3_000, `${tookMs} ms`);
  });
});

test('instances come and go under load, and no request fails', async () => {
  await using cell = await startCell({ sidecarFlags: { settle: '300ms' } });
  const client = await cell.routerClient('api');
  const headers = { host: `api:${cell.services.api.application.port}`, 'cellmesh-token': await cell.mint() };
  await using load = await startLoad({
    perSecond: 100,
    send: () => client.call({ method: 'POST', path: '/v1/messages', headers, body: 'hello' }),
  });
  await load.next(50);
  for (let round = 0; round < 3; round++) {
    await using second = await cell.addInstance('messaging');
    await eventually(async () =>
      assert.match(await instancesThatApiKnows(cell), new RegExp(`"port":${second.ports.inbound}\\b`)),
    );
    await load.next(50);
  }
  await load.next(50);
  const { failures, sent, succeeded } = await load.stop();
  assert.deepEqual(failures.slice(0, 3), []);
  assert.equal(succeeded, sent);
});

test('an application that ends before others know of it costs no request: another instance gets what it has not taken', async () => {
  await using cell = await startCell({ random: systemRandom });
  // Nobody listens there, as where an application closes its port at SIGTERM.
  const second = await cell.addInstance('messaging', { application: '::1', settle: '3s' });
  await eventually(async () =>
    assert.match(await instancesThatApiKnows(cell), new RegExp(`"port":${second.ports.inbound}\\b`)),
  );
  // `api` hears of nothing any more.
  await cell.stopControlPlane();
  const stopped = second[Symbol.asyncDispose]();
  await eventually(() => assert.match(second.notReady().join(), /draining/));
  const token = await cell.mint();
  const statuses = new Set<number>();
  // A new instance gets a tenth of what the other gets, and that when it is busy.
  await eventually(async () => {
    const calls = Array.from({ length: 12 }, () => cell.callAsRouter({ token, path: '/v1/messages' }));
    for (const { status } of await Promise.all(calls)) statuses.add(status);
    const metrics = (await callHttp({ port: second.ports.health!, path: '/metrics' })).body;
    assert.match(metrics, /^cellmesh_requests_total\{direction="inbound".*reason="upstream_unreachable"/m);
  });
  assert.deepEqual([...statuses], [200]);
  await stopped;
});
