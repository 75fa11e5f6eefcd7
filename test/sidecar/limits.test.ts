import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { loadConfig } from '#runtime/config.ts';
import { limitSettings } from '#wire/limit-settings.ts';
import { callHttp, type HttpResponse } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { type Mesh, startMesh } from '../support/start-mesh.ts';

async function assertLimited(mesh: Mesh, response: HttpResponse, status: number, reason: string): Promise<void> {
  assert.equal(response.status, status, response.body);
  const id = String(response.headers['cellmesh-decision']);
  const record = await eventually(() => {
    const found = mesh.services.api.records.find((record) => record.id === id);
    assert.ok(found);
    return found;
  });
  assert.equal(record.reason, reason);
}

describe('limits that an operator sets hold in a sidecar', () => {
  test('for heads, lines and fields: at the limit it passes, one past it is refused with an id', async () => {
    await using mesh = await startMesh({ limits: { headBytesMax: '4096', lineBytesMax: '1024', fieldsMax: '20' } });
    const port = mesh.services.api.dataPlane.outboundPort!;
    const call = (headers: Record<string, string>) => callHttp({ port, authority: 'unknown', path: '/', headers });
    const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, 'a']));
    // Two fields come with every request of this client: Host and Connection.
    await assertLimited(mesh, await call(many(18)), 403, 'not_declared');
    await assertLimited(mesh, await call(many(19)), 431, 'message_too_large');
    const line = (bytes: number) => ({ 'x-long': 'a'.repeat(bytes - 'x-long: '.length) });
    await assertLimited(mesh, await call(line(1024)), 403, 'not_declared');
    await assertLimited(mesh, await call(line(1025)), 431, 'message_too_large');
    const head = Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`x-${i}`, 'a'.repeat(1000)]));
    await assertLimited(mesh, await call(head), 431, 'message_too_large');
  });

  test('for bodies', async () => {
    await using mesh = await startMesh({ limits: { bodyBytesMax: '100' } });
    const token = await mesh.mint();
    const post = (bytes: number) =>
      mesh.callAsRouter({ token, method: 'POST', path: '/v1/local', body: 'a'.repeat(bytes) });
    assert.equal((await post(100)).status, 200);
    await assertLimited(mesh, await post(101), 413, 'message_too_large');
    const chunked = { 'transfer-encoding': 'chunked' };
    const body = 'a'.repeat(101);
    const response = await mesh.callAsRouter({ token, method: 'POST', path: '/v1/local', headers: chunked, body });
    await assertLimited(mesh, response, 413, 'message_too_large');
    assert.equal(mesh.services.api.application.received.length, 1);
  });

  test('for connections: one more is closed at once', async () => {
    await using mesh = await startMesh({ limits: { connectionsMax: '2' } });
    const port = mesh.services.api.dataPlane.outboundPort!;
    const open = async () => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      await once(socket, 'connect');
      return socket;
    };
    const [first, second] = [await open(), await open()];
    await eventually(async () => assert.equal((await mesh.services.api.dataPlane.summary()).outboundConnections, 2));
    const third = await open();
    await once(third, 'close');
    first.destroy();
    await eventually(async () => assert.equal((await mesh.services.api.dataPlane.summary()).outboundConnections, 1));
    const answer = await callHttp({ port, authority: 'unknown', path: '/' });
    assert.equal(answer.status, 403);
    second.destroy();
  });

  test('for requests in flight with one upstream: others wait, and one more than may wait gets 503', async () => {
    const release: (() => void)[] = [];
    const held = () =>
      new Promise<{ status: number; body: string }>((resolve) => {
        release.push(() => resolve({ status: 200, body: '' }));
      });
    await using mesh = await startMesh({ limits: { inFlightMax: '1', queueMax: '1' }, handlers: { api: held } });
    const token = await mesh.mint();
    const answers = [1, 2].map(() => mesh.callAsRouter({ token, path: '/v1/local' }));
    await eventually(() => assert.equal(release.length, 1));
    const answered: HttpResponse[] = [];
    // The second may still be on its way: whoever comes last finds the queue full.
    await eventually(async () => {
      const answer = mesh.callAsRouter({ token, path: '/v1/local' }).then((response) => answered.push(response));
      await Promise.race([answer, Promise.all(answers)]);
      assert.ok(answered.length > 0);
    });
    await assertLimited(mesh, answered[0]!, 503, 'overloaded');
    release[0]!();
    await eventually(() => assert.equal(release.length, 2));
    release[1]!();
    for (const answer of answers) assert.equal((await answer).status, 200);
  });
});

test('a setting that would break the mesh is refused with what it may be', () => {
  for (const [name, value, said] of [
    ['idleTimeout', '60s', /--idle-timeout: must not be below 61s/],
    ['headBytesMax', '70000', /--head-bytes-max: must be a whole number from 1024 to 65536/],
    ['inFlightMax', '0', /--in-flight-max: must be a whole number from 1 to/],
  ] as const) {
    assert.throws(() => loadConfig(limitSettings, { environment: {}, flags: { [name]: value } }), said);
  }
});
