import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { parseSpiffeId } from '#certs/spiffe-id.ts';
import { PeerRefused } from '#net/peer-refused.ts';
import { Metrics } from '#runtime/metrics.ts';
import { ConnectionMetrics } from '#sidecar/connection-metrics.ts';
import { eventually } from '../support/eventually.ts';
import { startPortMesh } from '../support/port-mesh.ts';
import { type Mesh, type MeshService, startMesh } from '../support/start-mesh.ts';

let mesh: Mesh;
let answer = Promise.withResolvers<void>();

before(async () => {
  mesh = await startMesh({
    handlers: {
      messaging: async ({ url }) => {
        if (url === '/v1/expire') await answer.promise;
        return { status: 200, body: 'x'.repeat(50_000) };
      },
    },
  });
});

after(() => mesh?.[Symbol.asyncDispose]());

/** Every line of a family, by its labels. */
async function valuesOf(metrics: Metrics, name: string): Promise<Record<string, number>> {
  const lines = (await metrics.render()).split('\n').filter((line) => line.startsWith(`${name}{`));
  return Object.fromEntries(
    lines.map((line) => {
      const [, labels = '', value] = /\{(.*)\} (\d+(?:\.\d+)?)$/.exec(line)!;
      return [[...labels.matchAll(/="([^"]*)"/g)].map(([, text]) => text).join(' '), Number(value)];
    }),
  );
}

const expire = (service: MeshService, body = '') =>
  service.call({
    authority: 'messaging',
    path: '/v1/expire',
    method: 'POST',
    body,
    headers: { 'cellmesh-as': 'self' },
  });

describe('connections', () => {
  test('are counted on all four sides while they are open, with the streams and bytes on them', async () => {
    const { api, messaging } = mesh.services;
    answer = Promise.withResolvers();
    const calls = [1, 2, 3].map(() => expire(api, 'y'.repeat(20_000)));
    await eventually(() => assert.equal(messaging.application.received.length, 3));
    const open = async ({ metrics }: MeshService) => valuesOf(metrics, 'cellmesh_connections_open');
    assert.deepEqual(await open(api), { 'outbound application http/1.1': 3, 'outbound mesh h2': 1 });
    assert.deepEqual(await open(messaging), { 'inbound mesh h2': 1, 'inbound application http/1.1': 3 });
    const none = { 'inbound plaintext': 0, 'inbound application': 0, 'outbound application': 0 };
    const streams = async ({ metrics }: MeshService) => valuesOf(metrics, 'cellmesh_http2_streams_open');
    assert.deepEqual(await streams(api), { ...none, 'inbound mesh': 0, 'outbound mesh': 3 });
    assert.deepEqual(await streams(messaging), { ...none, 'inbound mesh': 3, 'outbound mesh': 0 });
    const peers = async ({ metrics }: MeshService) => valuesOf(metrics, 'cellmesh_peer_connections');
    assert.deepEqual(await peers(api), { 'outbound messaging/messaging': 1 });
    assert.deepEqual(await peers(messaging), { 'inbound messaging/api': 1 });

    answer.resolve();
    for (const { status } of await Promise.all(calls)) assert.equal(status, 200);
    assert.deepEqual(await streams(api), { ...none, 'inbound mesh': 0, 'outbound mesh': 0 });
    // Calls of the test's application have a connection each.
    await eventually(async () => assert.equal((await open(api))['outbound application http/1.1'], 0));
    const opened = await valuesOf(api.metrics, 'cellmesh_connections_opened_total');
    assert.deepEqual(opened, { 'outbound application http/1.1': 3, 'outbound mesh h2': 1 });

    const bytes = { ...(await valuesOf(api.metrics, 'cellmesh_connection_bytes_total')) };
    const between = (value: number | undefined, least: number) =>
      assert.ok(value !== undefined && value >= least && value < least * 1.1, `${value}, at least ${least}`);
    between(bytes['outbound application http/1.1 received'], 3 * 20_000);
    between(bytes['outbound application http/1.1 sent'], 3 * 50_000);
    between(bytes['outbound mesh h2 sent'], 3 * 20_000);
    between(bytes['outbound mesh h2 received'], 3 * 50_000);
  });

  test('that a peer is about to end are counted until they have ended', async () => {
    const { api, messaging } = mesh.services;
    answer = Promise.withResolvers();
    const { length: before } = messaging.application.received;
    const call = expire(api);
    const streams = async () => (await valuesOf(api.metrics, 'cellmesh_http2_streams_open'))['outbound mesh'];
    await eventually(() => assert.equal(messaging.application.received.length, before + 1));
    const draining = messaging.dataPlane.drainInbound(5_000);
    await eventually(async () => {
      assert.equal((await valuesOf(api.metrics, 'cellmesh_connections_open'))['outbound mesh h2'], 1);
      assert.equal(await streams(), 1);
    });
    answer.resolve();
    assert.equal((await call).status, 200);
    await draining;
    await eventually(async () => {
      assert.equal((await valuesOf(api.metrics, 'cellmesh_connections_open'))['outbound mesh h2'], 0);
      assert.equal(await streams(), 0);
      assert.deepEqual(await valuesOf(api.metrics, 'cellmesh_peer_connections'), {});
    });
  });

  test('that carry what is not HTTP are tcp on the sides of the applications', async () => {
    const echo = createServer((socket: Socket) => socket.pipe(socket).on('error', () => {}));
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const { port } = echo.address() as { port: number };
    await using started = await startPortMesh(port, ['{ name: all, from: [messaging/api], account: none }'], 'tcp');
    const socket = connect(started.listenPort, '127.0.0.1');
    socket.write('hello');
    const [said] = await once(socket, 'data');
    assert.equal(String(said), 'hello');
    const { api, messaging } = started.mesh.services;
    const open = async ({ metrics }: MeshService) => valuesOf(metrics, 'cellmesh_connections_open');
    assert.deepEqual(await open(api), { 'outbound application tcp': 1, 'outbound mesh h2': 1 });
    assert.deepEqual(await open(messaging), { 'inbound mesh h2': 1, 'inbound application tcp': 1 });
    socket.destroy();
    await eventually(async () => assert.equal((await open(messaging))['inbound application tcp'], 0));
    echo.close();
  });
});

describe('handshakes', () => {
  test('are counted by result at both ends, and timed where they succeed', async () => {
    await using fresh = await startMesh();
    const { api, messaging, delivery } = fresh.services;
    const results = async ({ metrics }: MeshService) => valuesOf(metrics, 'cellmesh_tls_handshakes_total');
    assert.equal((await expire(api)).status, 200);
    assert.deepEqual(await results(api), { 'inbound ok': 0, 'outbound ok': 1 });
    assert.deepEqual(await results(messaging), { 'inbound ok': 1, 'outbound ok': 0 });
    for (const [service, direction] of [
      [api, 'outbound'],
      [messaging, 'inbound'],
    ] as const) {
      const { [direction]: count } = await valuesOf(service.metrics, 'cellmesh_tls_handshake_duration_seconds_count');
      const { [direction]: sum } = await valuesOf(service.metrics, 'cellmesh_tls_handshake_duration_seconds_sum');
      assert.equal(count, 1);
      assert.ok(sum !== undefined && sum > 0.0001 && sum < 10, `${sum}`);
    }

    // Another service answers at the callee's address, and then nobody.
    const { current } = fresh.endpoints;
    const moveTo = (port: number) =>
      fresh.endpoints.set(new Map(current).set(messaging.id, [{ host: '127.0.0.1', port, locality: '', weight: 1 }]));
    moveTo(delivery.dataPlane.inboundPort!);
    assert.equal((await expire(api)).status, 503);
    assert.deepEqual(await results(api), { 'inbound ok': 0, 'outbound ok': 1, 'outbound id_unexpected': 1 });
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as { port: number };
    silent.close();
    await once(silent, 'close');
    moveTo(port);
    assert.equal((await expire(api)).status, 503);
    assert.equal((await results(api))['outbound dial_failed'], 1);

    const plain = connect(messaging.dataPlane.inboundPort!, '127.0.0.1');
    plain.on('error', () => {}).write('GET / HTTP/1.1\r\n\r\n');
    await once(plain, 'close');
    assert.equal((await results(messaging))['inbound plaintext'], 1);
  });

  test('of more kinds than there is room for are counted together', async () => {
    const metrics = new Metrics();
    const connections = new ConnectionMetrics(metrics, []);
    const expect = parseSpiffeId('spiffe://cell-1.example.com/ns/shop/sa/cart');
    for (let n = 0; n < 150; n++) {
      const error = new PeerRefused(`openssl_${n}`, 'no');
      connections.dialed({ expect, durationMs: 1, result: { tag: 'failed', error } });
    }
    const results = await valuesOf(metrics, 'cellmesh_tls_handshakes_total');
    assert.equal(Object.keys(results).length, 102);
    assert.equal(results['outbound other'], 51);
  });
});
