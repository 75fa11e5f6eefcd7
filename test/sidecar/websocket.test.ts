import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import http2 from 'node:http2';
import { type AddressInfo, connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { activePolicy } from '#sidecar/active-policy.ts';
import { eventually } from '../support/eventually.ts';
import { type PortMesh, startPortMesh } from '../support/port-mesh.ts';
import { pushThousandTimes } from '../support/thousand-pushes.ts';

const application = createServer((_, response) => void response.end('plain'));
const server = new WebSocketServer({
  server: application,
  path: '/chat',
  perMessageDeflate: true,
  handleProtocols: (protocols) => (protocols.has('chat.v2') ? 'chat.v2' : false),
});
const handshakes: IncomingMessage[] = [];
let started: PortMesh;

before(async () => {
  server.on('connection', (socket, request) => {
    handshakes.push(request);
    socket.on('error', () => {});
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    // Speaks in the same packet as the end of its handshake.
    if (request.url?.includes('greet')) socket.send('welcome');
  });
  application.listen(0, '127.0.0.1');
  await once(application, 'listening');
  const { port } = application.address() as AddressInfo;
  const rule = '{ name: chat, from: [messaging/api], http: { methods: [GET], paths: ["/*"] }, account: none }';
  started = await startPortMesh(port, [rule], 'http');
});

after(async () => {
  await started[Symbol.asyncDispose]();
  for (const socket of server.clients) socket.terminate();
  server.close();
  application.close();
});

const self = { 'cellmesh-as': 'self' };

function dial(path = '/chat', protocols: string[] = []): WebSocket {
  const socket = new WebSocket(`ws://127.0.0.1:${started.listenPort}${path}`, protocols, { headers: self });
  socket.on('error', () => {});
  return socket;
}

function service(name: 'api' | 'messaging') {
  return started.mesh.services[name];
}

async function assertEchoes(socket: WebSocket, sent: string | Buffer): Promise<void> {
  socket.send(sent);
  const [data] = await once(socket, 'message');
  assert.deepEqual(Buffer.from(data), Buffer.from(sent));
}

describe('a WebSocket through two sidecars', () => {
  test('is accepted by the application, with the protocol that it chose and its compression', async () => {
    const socket = dial('/chat', ['chat.v1', 'chat.v2']);
    await once(socket, 'open');
    assert.equal(socket.protocol, 'chat.v2');
    assert.match(socket.extensions, /permessage-deflate/);
    await assertEchoes(socket, 'hello');
    const { headers } = handshakes.at(-1)!;
    assert.equal(headers['cellmesh-caller'], service('api').id);
    assert.equal(headers['cellmesh-as'], undefined);
    socket.close(1000, 'done');
    assert.deepEqual((await once(socket, 'close'))[0], 1000);
    const [caller, callee] = [service('api').records.at(-1), service('messaging').records.at(-1)];
    assert.deepEqual([caller?.outcome, caller?.method, caller?.path], ['permit', 'GET', '/chat']);
    assert.deepEqual([callee?.outcome, callee?.rule, callee?.status], ['permit', 'chat', 200]);
  });

  test('carries messages of any size, whole and unchanged', async () => {
    const socket = dial();
    await once(socket, 'open');
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 5_000_000]) await assertEchoes(socket, randomBytes(size));
    socket.close();
    await once(socket, 'close');
  });

  test('passes on what its server says with the end of the handshake', async () => {
    const socket = dial('/chat?greet');
    assert.equal(String((await once(socket, 'message'))[0]), 'welcome');
    socket.close();
  });

  test('is one of many on the same connection between the sidecars', async () => {
    const sockets = Array.from({ length: 50 }, () => dial());
    await Promise.all(sockets.map((socket) => once(socket, 'open')));
    await Promise.all(sockets.map((socket, i) => assertEchoes(socket, `number ${i}`)));
    assert.equal((await service('messaging').dataPlane.summary()).inboundConnections, 1);
    for (const socket of sockets) socket.terminate();
    await eventually(async () => assert.equal((await service('messaging').dataPlane.summary()).tunnels, 0));
    await eventually(async () => assert.equal((await service('api').dataPlane.summary()).tunnels, 0));
  });

  test('that the application does not want gets its answer', async () => {
    const socket = dial('/other');
    const [, response] = await once(socket, 'unexpected-response');
    assert.equal((response as IncomingMessage).statusCode, 400);
  });

  test('stays open under a thousand policies and certificates, and is not reset', { timeout: 30_000 }, async () => {
    const sockets = Array.from({ length: 8 }, () => dial());
    const ends: string[] = [];
    for (const socket of sockets) socket.on('close', (code) => ends.push(`closed with ${code}`));
    await Promise.all(sockets.map((socket) => once(socket, 'open')));
    await pushThousandTimes(started.mesh, async (word) => {
      await Promise.all(sockets.map((socket) => assertEchoes(socket, word)));
    });
    assert.deepEqual(ends, []);
    for (const socket of sockets) socket.close(1000);
    await eventually(() => assert.deepEqual(ends, Array(sockets.length).fill('closed with 1000')));
  });

  test('ends when policy changes and does not allow it any more', async () => {
    const { policy } = service('messaging');
    const allowed = policy.current!;
    const socket = dial();
    await once(socket, 'open');
    policy.set(activePolicy({ ...allowed.snapshot, rules: [] }));
    await once(socket, 'close');
    const refused = dial();
    const [, response] = await once(refused, 'unexpected-response');
    assert.equal((response as IncomingMessage).statusCode, 403);
    policy.set(allowed);
  });

  test('may begin as an extended CONNECT of HTTP/2 with prior knowledge', async () => {
    const session = http2.connect(`http://127.0.0.1:${started.listenPort}`);
    await once(session, 'remoteSettings');
    assert.equal(session.remoteSettings.enableConnectProtocol, true);
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': '/chat',
      ':authority': 'messaging',
      'sec-websocket-version': '13',
      ...self,
    });
    const [head] = await once(stream, 'response');
    assert.equal(head[':status'], 200);
    assert.equal(head['sec-websocket-accept'], undefined);
    // A masked text frame "hi", with a mask of zeros.
    stream.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]));
    const [frame] = await once(stream, 'data');
    assert.deepEqual([...frame], [0x81, 2, 0x68, 0x69]);
    stream.destroy();
    session.close();
  });
});

describe('an upgrade that is none', () => {
  async function say(head: string): Promise<string> {
    const socket = connect(started.listenPort, '127.0.0.1');
    socket.write(head);
    const [bytes] = await once(socket, 'data');
    socket.destroy();
    return String(bytes);
  }
  const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
  const rest = 'Host: messaging\r\ncellmesh-as: self\r\nConnection: Upgrade\r\n';

  test('because its key is missing, doubled or no key is a 400', async () => {
    for (const wrong of ['', key + key, 'Sec-WebSocket-Key: short\r\n']) {
      const said = await say(
        `GET /chat HTTP/1.1\r\n${rest}Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n${wrong}\r\n`,
      );
      assert.match(said, /^HTTP\/1\.1 400 /);
    }
  });

  test('because it has a body is a 400', async () => {
    const body = `GET /chat HTTP/1.1\r\n${rest}Upgrade: websocket\r\n${key}Content-Length: 2\r\n\r\nhi`;
    assert.match(await say(body), /^HTTP\/1\.1 400 /);
  });

  test('to another protocol, or without being named by Connection, is an ordinary request', async () => {
    const other = `GET /plain HTTP/1.1\r\n${rest}Upgrade: h2c\r\n\r\n`;
    assert.match(await say(other), /^HTTP\/1\.1 200 [\s\S]*plain$/);
    const unnamed = `GET /plain HTTP/1.1\r\nHost: messaging\r\ncellmesh-as: self\r\nUpgrade: websocket\r\n${key}\r\n`;
    assert.match(await say(unnamed), /^HTTP\/1\.1 200 [\s\S]*plain$/);
  });
});
