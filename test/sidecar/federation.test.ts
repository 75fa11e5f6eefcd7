import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, before, beforeEach, describe, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { parseSpiffeId, type SpiffeId } from '#certs/spiffe-id.ts';
import { bundlesOf } from '#certs/trust-bundle.ts';
import { dialMtls } from '#net/dial.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { systemClock } from '#runtime/clock.ts';
import { WatchSource } from '#runtime/watch.ts';
import { callHttp, type HttpCall, type HttpResponse } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { type Mesh, type MeshService, startMesh } from '../support/start-mesh.ts';
import { type TestAuthority, testAuthority } from '../support/test-authority.ts';

const billing = parseSpiffeId('spiffe://partner.test/billing');
/** By its names alone it could be the service that is allowed most. */
const namesake = parseSpiffeId('spiffe://partner.test/ns/messaging/sa/api');
const rules = [
  `{ name: partner, from: ["${billing}", "${namesake}"], http: { paths: [/partner] }, account: none }`,
  '{ name: anybody, from: [any], http: { paths: [/any] }, account: none }',
  `{ name: customer, from: ["${billing}"], http: { paths: [/customer] } }`,
];

describe('a workload of another trust domain', () => {
  let partner: TestAuthority;
  let mesh: Mesh;
  let messaging: MeshService;
  before(async () => {
    partner = await testAuthority(systemClock, 'partner.test');
  });
  beforeEach(async () => {
    mesh = await startMesh({
      editManifests: (text) =>
        text.replace(/(name: messaging, namespace[\s\S]*?allow:\n)/, (found) =>
          [found, ...rules.map((rule) => `    - ${rule}\n`)].join(''),
        ),
    });
    messaging = mesh.services.messaging;
  });
  afterEach(() => mesh[Symbol.asyncDispose]());

  const federate = (isTrusted: boolean) => {
    const { svid, bundles } = messaging.identity.current;
    const own = [...bundles.values()].filter(({ trustDomain }) => trustDomain !== partner.trustDomain);
    const others = isTrusted ? partner.bundles.values() : [];
    messaging.identity.set({ svid, bundles: bundlesOf(...own, ...others) });
  };

  async function dialAs(id: SpiffeId): Promise<TLSSocket> {
    const { bundles } = messaging.identity.current;
    const identity = new WatchSource<TlsIdentity>({ svid: await partner.issue(id), bundles });
    const port = messaging.dataPlane.inboundPort!;
    const expect = messaging.id;
    const { socket } = await dialMtls({
      host: '127.0.0.1',
      port,
      identity,
      expect,
      alpn: ['http/1.1'],
      clock: systemClock,
    });
    return socket;
  }

  async function ask(id: SpiffeId, path: string, call: HttpCall = {}): Promise<HttpResponse> {
    const socket = await dialAs(id);
    try {
      return await callHttp({ authority: `messaging:${messaging.application.port}`, path, ...call, socket });
    } finally {
      socket.destroy();
    }
  }

  test('comes in once its trust domain is one that is federated with, under rules that name it', async () => {
    await assert.rejects(ask(billing, '/partner'));
    federate(true);
    assert.equal((await ask(billing, '/partner')).status, 200);
    const { peer, rule } = messaging.records.at(-1)!;
    assert.deepEqual([peer, rule], [billing, 'partner']);
    assert.equal(messaging.application.received.at(-1)?.headers['cellmesh-caller'], billing);
  });

  test('is not meant by `any`, nor by the names of workloads of the cell', async () => {
    federate(true);
    for (const id of [billing, namesake]) {
      assert.equal((await ask(id, '/any')).status, 403);
      assert.equal(messaging.records.at(-1)?.reason, 'peer_not_declared');
    }
    const token = await mesh.mint();
    const headers = { 'cellmesh-token': token, 'cellmesh-left': '1 messages:read messages:write' };
    assert.equal((await ask(namesake, '/v1/messages', { headers })).status, 403);
    assert.equal(messaging.records.at(-1)?.reason, 'peer_not_allowed');
  });

  test('brings no customer: what it says of one is taken off unread', async () => {
    federate(true);
    const token = await mesh.mint();
    for (const headers of [
      { 'cellmesh-token': token, 'cellmesh-left': '1 messages:read' },
      { 'cellmesh-token': 'x', 'cellmesh-left': '9 x', 'cellmesh-account': 'AC00000000000000000000000000000001' },
    ]) {
      assert.equal((await ask(billing, '/partner', { headers })).status, 200);
      const { account, claims, left, granted } = messaging.records.at(-1)!;
      assert.deepEqual([account, claims, left, granted], [undefined, undefined, undefined, '']);
      const told = Object.keys(messaging.application.received.at(-1)!.headers).filter((name) => /^cellmesh/.test(name));
      assert.deepEqual(told.sort(), ['cellmesh-caller', 'cellmesh-decision', 'cellmesh-scope']);
      assert.equal((await ask(billing, '/customer', { headers })).status, 401);
    }
  });

  test('has its connections drained when its trust domain is taken off', async () => {
    federate(true);
    const socket = await dialAs(billing);
    const ended = once(socket, 'close');
    socket.on('error', () => {}).resume();
    await eventually(async () =>
      assert.match(await messaging.metrics.render(), /peer="spiffe:\/\/partner\.test\/billing"\} 1/),
    );
    federate(false);
    await ended;
    await assert.rejects(ask(billing, '/partner'));
  });

  test('has series of its own in the metrics, not those of its namesake', async () => {
    federate(true);
    await ask(namesake, '/partner');
    const { status } = await mesh.callAsRouter({ token: await mesh.mint(), path: '/v1/messages' });
    assert.equal(status, 200);
    const rendered = await messaging.metrics.render();
    assert.match(rendered, /peer="spiffe:\/\/partner\.test\/ns\/messaging\/sa\/api",route="partner"/);
    assert.match(rendered, /peer="messaging\/api",route="read"/);
  });
});
