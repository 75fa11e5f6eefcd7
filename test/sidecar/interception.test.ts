import assert from 'node:assert/strict';
import { request } from 'node:http';
import type { Duplex } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { callHttp } from '../support/application.ts';
import { freePort } from '../support/free-port.ts';
import { type Mesh, startMesh } from '../support/start-mesh.ts';

let mesh: Mesh;
let listenPort: number;
let context: string;

before(async () => {
  listenPort = await freePort();
  mesh = await startMesh({ listenPort });
  const token = await mesh.mint();
  await mesh.callAsRouter({ token, path: '/v1/local' });
  context = String(mesh.services.api.application.received[0]?.headers['cellmesh-context']);
});
after(() => mesh[Symbol.asyncDispose]());

function outbound(): number {
  return mesh.services.api.dataPlane.outboundPort!;
}

function withContext() {
  return { 'cellmesh-context': context };
}

describe("an application's call reaches its callee", () => {
  test('by the name in Host, with its namespace, its full name and its port', async () => {
    const { port } = mesh.services.messaging.application;
    for (const authority of [
      'messaging',
      'messaging.messaging',
      'messaging.messaging.svc',
      'messaging.messaging.svc.cluster.local',
      `messaging:${port}`,
      'MESSAGING',
    ]) {
      const answer = await callHttp({ port: outbound(), authority, path: '/v1/messages', headers: withContext() });
      assert.equal(answer.status, 200, `${authority}: ${answer.body}`);
    }
  });

  test('in absolute form, as a client with HTTP_PROXY sends it', async () => {
    const path = 'http://messaging/v1/messages?page=2';
    const answer = await callHttp({ port: outbound(), authority: 'messaging', path, headers: withContext() });
    assert.equal(answer.status, 200, answer.body);
    assert.equal(mesh.services.messaging.application.received.at(-1)?.url, '/v1/messages?page=2');
  });

  test('through CONNECT, which is ended and parsed: each request inside is decided', async () => {
    const { port } = mesh.services.messaging.application;
    const socket = await openTunnel(`messaging:${port}`);
    const allowed = await callHttp({
      socket,
      authority: `messaging:${port}`,
      path: '/v1/messages',
      headers: withContext(),
    });
    assert.equal(allowed.status, 200, allowed.body);
    const second = await openTunnel(`messaging:${port}`);
    const without = await callHttp({ socket: second, authority: `messaging:${port}`, path: '/v1/messages' });
    assert.equal(without.status, 403);
    assert.match(without.body, /"context_missing"/);
    for (const one of [socket, second]) one.destroy();
  });

  test("through its own loopback port, whatever the request's Host says", async () => {
    const answer = await callHttp({
      port: listenPort,
      authority: `127.0.0.1:${listenPort}`,
      path: '/v1/messages',
      headers: withContext(),
    });
    assert.equal(answer.status, 200, answer.body);
  });
});

describe('a tunnel', () => {
  test('to a host that is not declared is refused before it opens', async () => {
    const { port } = mesh.services.delivery.application;
    await assert.rejects(openTunnel(`delivery:${port}`), /403/);
    await assert.rejects(openTunnel('example.com:443'), /403/);
  });

  test('takes no request for another host, and no tunnel inside', async () => {
    const { port } = mesh.services.messaging.application;
    const socket = await openTunnel(`messaging:${port}`);
    const other = await callHttp({ socket, authority: 'delivery', path: '/v1/deliveries', headers: withContext() });
    assert.equal(other.status, 400);
    assert.match(other.body, /"message_malformed"/);
    socket.destroy();
    await assert.rejects(openTunnel(`messaging:${port}`, await openTunnel(`messaging:${port}`)), /400/);
  });
});

/** @throws Error with the status of the answer when it is not 200 */
function openTunnel(authority: string, inside?: Duplex): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const through = inside === undefined ? { agent: false as const } : { createConnection: () => inside };
    const asked = request({ host: '127.0.0.1', port: outbound(), method: 'CONNECT', path: authority, ...through });
    asked.once('connect', ({ statusCode }, socket) => {
      if (statusCode === 200) return resolve(socket);
      socket.destroy();
      reject(new Error(String(statusCode)));
    });
    asked.once('error', reject);
    asked.end();
  });
}
