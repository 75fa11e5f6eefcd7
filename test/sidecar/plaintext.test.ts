import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, beforeEach, describe, test } from 'node:test';
import { activePolicy } from '#sidecar/active-policy.ts';
import { callHttp } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { type PortMesh, startPortMesh } from '../support/port-mesh.ts';
import { type RawRequest, sendRaw } from '../support/raw-request.ts';
import { type Mesh, type MeshService, startMesh } from '../support/start-mesh.ts';

const dayMs = 86_400_000;
const open = '{ name: open, from: [unmeshed], http: { paths: [/open, "/open/**"] }, account: none }';

/** Until when callers without TLS are heard, by a push; undefined: never. */
function hear(service: MeshService, plaintextUntilMs: number | undefined): void {
  const { plaintextUntilMs: _, ...snapshot } = service.policy.current!.snapshot;
  service.policy.set(activePolicy({ ...snapshot, ...(plaintextUntilMs !== undefined && { plaintextUntilMs }) }));
}

function dial(service: MeshService): Socket {
  const socket = connect({ port: service.dataPlane.inboundPort!, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  return socket;
}

/** Whether the other end ends it, in whatever way. */
const ended = (socket: Socket) =>
  new Promise<void>((resolve) => {
    socket.resume();
    socket.once('close', () => resolve()).once('end', () => socket.end());
  });

describe('a caller without TLS, over HTTP', () => {
  let mesh: Mesh;
  let messaging: MeshService;
  before(async () => {
    mesh = await startMesh({
      editManifests: (text) =>
        text.replace(/(name: messaging, namespace[\s\S]*?allow:\n)/, (found) => `${found}    - ${open}\n`),
    });
    messaging = mesh.services.messaging;
  });
  after(() => mesh[Symbol.asyncDispose]());
  beforeEach(() => hear(messaging, Date.now() + dayMs));

  const ask = (protocol: 'http/1.1' | 'h2', request: Partial<RawRequest> = {}) =>
    sendRaw(dial(messaging), protocol, { path: '/open', authority: 'any.example', ...request });

  for (const protocol of ['http/1.1', 'h2'] as const) {
    test(`is heard by rules for it over ${protocol}, whatever it calls the host`, async () => {
      const answer = await ask(protocol);
      assert.equal(answer.status, 200, answer.body);
      const record = messaging.records.at(-1)!;
      assert.deepEqual(
        [record.peer, record.address, record.rule, record.outcome, record.port],
        ['unmeshed', '127.0.0.1', 'open', 'permit', messaging.application.port],
      );
      assert.equal(answer.field('cellmesh-decision'), record.id);
    });

    test(`is refused over ${protocol} where no rule is for it`, async () => {
      const count = messaging.application.received.length;
      const answer = await ask(protocol, { path: '/v1/messages' });
      assert.equal(answer.status, 403);
      assert.equal(messaging.records.at(-1)?.reason, 'peer_not_allowed');
      assert.equal(messaging.application.received.length, count);
    });

    test(`is believed nothing that it says of itself over ${protocol}`, async () => {
      const token = await mesh.mint();
      const forged = [
        ['cellmesh-token', token],
        ['cellmesh-token', 'x'],
        ['cellmesh-left', '1 messages:read'],
        ['cellmesh-left', '9 everything'],
        ['cellmesh-account', 'AC00000000000000000000000000000001'],
        ['cellmesh_account', 'AC00000000000000000000000000000001'],
        ['cellmesh-caller', String(mesh.services.api.id)],
        ['cellmesh-scope', 'messages:read'],
        ['cellmesh-context', 'f'.repeat(32)],
        ['cellmesh-decision', 'forged'],
        ['x-forwarded-client-cert', `URI=${mesh.services.api.id}`],
        ['tracestate', `cellmesh=${'f'.repeat(32)}`],
      ] as const;
      const answer = await ask(protocol, { fields: forged });
      assert.equal(answer.status, 200);
      const { headers } = messaging.application.received.at(-1)!;
      const told = Object.entries(headers).filter(([name]) => /cellmesh|client-cert/.test(name));
      assert.deepEqual(told, [['cellmesh-decision', answer.field('cellmesh-decision')]]);
      assert.equal(headers['tracestate'], undefined);
      const { account, claims, left, granted, peer } = messaging.records.at(-1)!;
      assert.deepEqual([account, claims, left, granted, peer], [undefined, undefined, undefined, '', 'unmeshed']);
      const denied = await ask(protocol, { path: '/v1/messages', fields: [['cellmesh-token', token]] });
      assert.equal(denied.status, 403);
    });

    test(`is answered for what is no clean request over ${protocol}`, async () => {
      const answer = await ask(protocol, { path: '/open/%2e%2e/v1/messages' });
      assert.equal(answer.status, 400);
      assert.equal(messaging.records.at(-1)?.peer, 'unmeshed');
    });
  }

  test('leaves calls of the mesh as they are', async () => {
    const { status } = await mesh.callAsRouter({ token: await mesh.mint(), path: '/v1/messages' });
    assert.equal(status, 200);
    assert.equal(messaging.records.at(-1)?.peer, mesh.services.api.id);
  });

  test('is closed at once, and counted, where it is not heard', async () => {
    hear(messaging, undefined);
    const records = messaging.records.length;
    for (const bytes of [
      'GET /open HTTP/1.1\r\nHost: a\r\n\r\n',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'hello, is anybody there?',
    ]) {
      const socket = dial(messaging);
      socket.write(bytes);
      await ended(socket);
    }
    assert.equal(messaging.records.length, records);
    const rendered = await messaging.metrics.render();
    assert.match(rendered, /cellmesh_tls_handshakes_total\{direction="inbound",result="plaintext"\} 3/);
  });

  test('is told that its connection ends when it is heard no more, and has it ended', async () => {
    const idle = dial(messaging);
    idle.write('GET /open HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.match(String((await once(idle, 'data'))[0]), /^HTTP\/1.1 200 /);
    hear(messaging, undefined);
    await ended(idle);
  });

  test('is heard until its time is over by the clock of the sidecar, without a push', async () => {
    hear(messaging, Date.now() + 300);
    const idle = dial(messaging);
    idle.write('GET /open HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.match(String((await once(idle, 'data'))[0]), /^HTTP\/1.1 200 /);
    await ended(idle);
    await assert.rejects(callHttp({ port: messaging.dataPlane.inboundPort!, path: '/open' }));
  });

  test('shows in the metrics of requests and of connections', async () => {
    await ask('http/1.1');
    const rendered = await messaging.metrics.render();
    const last = Number(/^cellmesh_plaintext_last_seconds (\S+)$/m.exec(rendered)?.[1]);
    assert.ok(Math.abs(last - Date.now() / 1000) < 10, `${last}`);
    assert.match(
      rendered,
      /cellmesh_requests_total\{direction="inbound",peer="unmeshed",route="open",.*code="200"\} [1-9]/,
    );
    assert.match(
      rendered,
      /cellmesh_connections_opened_total\{direction="inbound",side="plaintext",protocol="h2"\} [1-9]/,
    );
  });
});

describe('a caller without TLS, of a port whose bytes nobody looks at', () => {
  let application: Server;
  let started: PortMesh;
  let messaging: MeshService;
  const sockets: Socket[] = [];
  before(async () => {
    application = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.push(socket);
      socket.on('error', () => {}).on('end', () => socket.end('bye'));
      socket.write('welcome ');
      socket.on('data', (bytes) => socket.write(bytes.toString().toUpperCase()));
    }).listen(0, '127.0.0.1');
    await once(application, 'listening');
    const { port } = application.address() as AddressInfo;
    started = await startPortMesh(port, ['{ name: store, from: [messaging/api, unmeshed], account: none }'], 'tcp');
    messaging = started.mesh.services.messaging;
  });
  after(async () => {
    await started[Symbol.asyncDispose]();
    for (const socket of sockets) socket.destroy();
    application.close();
  });
  beforeEach(() => hear(messaging, Date.now() + dayMs));

  test('speaks first, and each side closes by itself', async () => {
    const socket = dial(messaging);
    socket.end('GET / hello ');
    assert.equal(await text(socket), 'welcome GET / HELLO bye');
    const { peer, rule, method, address } = messaging.records.at(-1)!;
    assert.deepEqual([peer, rule, method, address], ['unmeshed', 'store', 'CONNECT', '127.0.0.1']);
  });

  test('may wait for the server to speak first', async () => {
    const socket = dial(messaging);
    assert.equal(String((await once(socket, 'data'))[0]), 'welcome ');
    socket.end();
    await ended(socket);
  });

  test('is cut off when it is heard no more', async () => {
    const socket = dial(messaging);
    socket.write('x');
    await once(socket, 'data');
    hear(messaging, undefined);
    await ended(socket);
    const next = dial(messaging);
    next.write('hello, is anybody there?');
    await ended(next);
  });

  test('leaves connections of the mesh as they are', async () => {
    const socket = connect({ port: started.listenPort, host: '127.0.0.1', allowHalfOpen: true });
    socket.end('a');
    assert.equal(await text(socket), 'welcome Abye');
    await eventually(() => assert.equal(messaging.records.at(-1)?.peer, started.mesh.services.api.id));
  });
});
