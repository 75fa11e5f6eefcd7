import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import type { Handler } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { type Mesh, startMesh } from '../support/start-mesh.ts';

const own = { 'cellmesh-as': 'self' };
const expire = { authority: 'messaging', method: 'POST', path: '/v1/expire', headers: own };
/** What `api` may read there without a customer. */
const readable = '{ name: look, from: [messaging/api], http: { paths: ["/look/*"] }, account: none }';

/** `api` calls `messaging`, whose entry in its manifest has these lines more. */
function mesh(traffic: string, messaging: Handler): Promise<Mesh> {
  return startMesh({
    handlers: { messaging },
    editManifests: (text) =>
      text
        .replace('own: [messages:expire]', `own: [messages:expire]\n${traffic.replace(/^/gm, '      ')}`)
        .replace(
          '    - { name: read, from: [messaging/api]',
          `    - ${readable}\n    - { name: read, from: [messaging/api]`,
        ),
  });
}

describe('retries that a manifest states', () => {
  /** Fails twice, then answers. */
  const failsTwice = (): Handler => {
    let count = 0;
    return () => (++count <= 2 ? { status: 503, body: 'no' } : { status: 200, body: 'yes' });
  };

  test('repeat an idempotent call, and the application sees which attempt it is', async () => {
    await using started = await mesh('retries: { attempts: 3, retryOn: [503] }', failsTwice());
    const { api, messaging } = started.services;
    const path = '/look/1';
    const forged = { ...own, 'retry-attempt': '9' };
    const response = await api.call({ authority: 'messaging', method: 'PUT', path, headers: forged, body: 'once' });
    assert.deepEqual([response.status, response.body], [200, 'yes']);
    const seen = messaging.application.received.map(({ headers, body }) => [headers['retry-attempt'], body]);
    assert.deepEqual(seen, [
      [undefined, 'once'],
      ['1', 'once'],
      ['2', 'once'],
    ]);
  });

  test('repeat nothing that is not idempotent', async () => {
    await using started = await mesh('retries: { attempts: 3, retryOn: [503] }', failsTwice());
    assert.equal((await started.services.api.call(expire)).status, 503);
    assert.equal(started.services.messaging.application.received.length, 1);
  });

  test('are those of the first route that matches', async () => {
    const traffic = [
      'retries: { attempts: 3, retryOn: [503] }',
      'routes: [{ http: { paths: ["/look/once"] }, retries: { attempts: 2, retryOn: [502] } }]',
    ].join('\n');
    await using started = await mesh(traffic, failsTwice());
    const call = (path: string) => started.services.api.call({ authority: 'messaging', path, headers: own });
    assert.equal((await call('/look/once')).status, 503);
    assert.equal((await call('/look/often')).status, 200);
  });
});

describe('time-outs that a manifest states', () => {
  const never: Handler = () => new Promise(() => {});

  test('end a call whose answer does not begin, and the record says so', async () => {
    await using started = await mesh('timeouts: { head: 50ms }', never);
    const response = await started.services.api.call(expire);
    assert.equal(response.status, 504);
    assert.equal(JSON.parse(response.body).reason, 'upstream_timeout');
    await eventually(() => assert.equal(started.services.api.records.at(-1)?.reason, 'upstream_timeout'));
  });

  test('end a call that takes too long as a whole', async () => {
    await using started = await mesh('timeouts: { total: 80ms }', never);
    assert.equal((await started.services.api.call(expire)).status, 504);
  });

  test('give up an instance that accepts no connection', async () => {
    await using started = await mesh('timeouts: { connect: 50ms }', never);
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as { port: number };
    const { messaging, api } = started.services;
    const instance = { host: '127.0.0.1', port, locality: 'local', weight: 1 };
    started.endpoints.set(new Map([...started.endpoints.current, [messaging.id, [instance]]]));
    const response = await api.call(expire);
    assert.equal(response.status, 504);
    silent.close();
  });
});

test('an instance that nobody listens at costs no call, and gets none for a while', async () => {
  await using started = await mesh('timeouts: { total: 5s }', () => ({ status: 200, body: 'yes' }));
  const { messaging, api } = started.services;
  const dead = { host: '127.0.0.1', port: await freePort(), locality: 'local', weight: 1 };
  const live = started.endpoints.current.get(messaging.id)!;
  started.endpoints.set(new Map([...started.endpoints.current, [messaging.id, [dead, ...live]]]));
  for (let i = 0; i < 20; i++) assert.equal((await api.call(expire)).status, 200);
  const metrics = await api.metrics.render();
  assert.match(metrics, /cellmesh_instances_ejected 1\n/);
});
