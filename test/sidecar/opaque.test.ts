import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2, constants } from 'node:http2';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { activePolicy } from '#sidecar/active-policy.ts';
import { callHttp } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { type PortMesh, startPortMesh } from '../support/port-mesh.ts';
import { pushThousandTimes } from '../support/thousand-pushes.ts';

let application: Server;
let sockets: Socket[] = [];
let started: PortMesh;
let isLeaving = false;

/** An application whose protocol nobody knows: it gives back what it gets in capitals, and says goodbye when its client has said all. */
before(async () => {
  application = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      if (!socket.write(bytes.toString('latin1').toUpperCase(), 'latin1')) {
        socket.pause();
        socket.once('drain', () => socket.resume());
      }
    });
    socket.on('end', () => socket.end('bye'));
  });
  application.listen(0, '127.0.0.1');
  await once(application, 'listening');
  const { port } = application.address() as AddressInfo;
  started = await startPortMesh(port, ['{ name: store, from: [messaging/api], account: none }'], 'tcp', {
    isLeaving: (name) => name === 'messaging' && isLeaving,
  });
});

after(async () => {
  await started[Symbol.asyncDispose]();
  for (const socket of sockets) socket.destroy();
  application.close();
});

function dial(): Socket {
  const socket = connect({ port: started.listenPort, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  return socket;
}

async function connectAtSharedPort(): Promise<Socket> {
  const { port } = application.address() as AddressInfo;
  const shared = service('api').dataPlane.outboundPort!;
  const socket = connect({ port: shared, host: '127.0.0.1', allowHalfOpen: true });
  socket.write(`CONNECT messaging:${port} HTTP/1.1\r\nHost: messaging:${port}\r\n\r\n`);
  assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1.1 200 /);
  return socket;
}

/** What a connection said until it ended, in whatever way. */
async function saidBy(socket: Socket): Promise<string> {
  let said = '';
  socket.on('data', (bytes) => {
    said += String(bytes);
  });
  await new Promise((resolve) => socket.once('close', resolve).once('end', () => socket.end()));
  return said;
}

/** What happens while nobody listens where the application was. */
async function withoutApplication(run: () => Promise<void>): Promise<void> {
  const { port } = application.address() as AddressInfo;
  for (const socket of sockets) socket.destroy();
  sockets = [];
  application.close();
  await once(application, 'close');
  await run();
  application.listen(port, '127.0.0.1');
  await once(application, 'listening');
}

function service(name: 'api' | 'messaging') {
  return started.mesh.services[name];
}

describe('an opaque connection through two sidecars', () => {
  test('carries bytes both ways, and each side closes by itself', async () => {
    const socket = dial();
    socket.end('hello ');
    assert.equal(await text(socket), 'HELLO bye');
    const [caller, callee] = [service('api').records.at(-1), service('messaging').records.at(-1)];
    assert.deepEqual([caller?.outcome, caller?.method, caller?.callee], ['permit', 'CONNECT', 'messaging/messaging']);
    assert.deepEqual(
      [callee?.outcome, callee?.method, callee?.rule, callee?.peer],
      ['permit', 'CONNECT', 'store', service('api').id],
    );
  });

  test('lets the server speak first, and both in turn', async () => {
    const socket = dial();
    for (const word of ['one', 'two', 'three']) {
      socket.write(word);
      const [answer] = await once(socket, 'data');
      assert.equal(String(answer), word.toUpperCase());
    }
    socket.end();
    assert.equal(await text(socket), 'bye');
  });

  test('passes 20 megabytes to a slow reader, and back, byte for byte', async () => {
    const sent = Buffer.alloc(20_000_000, 'abcdefghij');
    const socket = dial();
    socket.end(sent);
    const pieces: Buffer[] = [];
    for await (const piece of socket) {
      pieces.push(piece);
      if (pieces.length % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const received = Buffer.concat(pieces).toString('latin1');
    assert.equal(received, `${sent.toString('latin1').toUpperCase()}bye`);
  });

  test('fifty at once share one connection between the sidecars', async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => {
        const socket = dial();
        socket.end(`number ${i} `);
        return text(socket);
      }),
    );
    assert.deepEqual(
      answers,
      Array.from({ length: 50 }, (_, i) => `NUMBER ${i} bye`),
    );
    assert.equal((await service('messaging').dataPlane.summary()).inboundConnections, 1);
    await eventually(async () => assert.equal((await service('messaging').dataPlane.summary()).tunnels, 0));
  });

  test('stays open under a thousand policies and certificates, and is not reset', { timeout: 30_000 }, async () => {
    const dialed = Array.from({ length: 8 }, dial);
    const ends: string[] = [];
    for (const socket of dialed) {
      socket.on('end', () => ends.push('end'));
      socket.on('error', (error) => ends.push(error.message));
    }
    await pushThousandTimes(started.mesh, async (word) => {
      const answers = dialed.map(async (socket) => {
        socket.write(word);
        return String((await once(socket, 'data'))[0]);
      });
      assert.deepEqual(new Set(await Promise.all(answers)), new Set([word.toUpperCase()]));
    });
    assert.deepEqual(ends, []);
    for (const socket of dialed) socket.end();
    await eventually(() => assert.deepEqual(ends, Array(dialed.length).fill('end')));
  });

  test('ends at the other side when one breaks off', async () => {
    const before = sockets.length;
    const socket = dial();
    socket.write('x');
    await once(socket, 'data');
    const far = sockets[before]!;
    socket.resetAndDestroy();
    await eventually(() => assert.equal(far.destroyed, true));
    await eventually(async () => assert.equal((await service('api').dataPlane.summary()).tunnels, 0));
  });

  test('is also opened by CONNECT at the shared port', async () => {
    const socket = await connectAtSharedPort();
    socket.write('inside');
    assert.equal(String((await once(socket, 'data'))[0]), 'INSIDE');
    socket.destroy();
  });

  test('that was opened by CONNECT goes on to answer when its client has said all', async () => {
    const socket = await connectAtSharedPort();
    socket.end(Buffer.alloc(300_000, 'abc'));
    assert.equal(await text(socket), `${'ABC'.repeat(100_000)}bye`);
  });

  test('takes no HTTP, and HTTP takes no connection', async () => {
    const { port } = application.address() as AddressInfo;
    const headers = { 'cellmesh-as': 'self' };
    const answer = await service('api').call({ authority: `messaging:${port}`, path: '/', headers });
    assert.equal(answer.status, 400);
    assert.match(answer.body, /protocol_mismatch/);
    const through = await started.mesh.callAs(service('api').id, 'messaging', {
      authority: `messaging:${port}`,
      path: '/',
    });
    assert.match(through.body, /protocol_mismatch/);
  });
});

describe('an opaque connection that is not allowed', () => {
  test('is closed without a byte of the application', async () => {
    const before = sockets.length;
    const { policy } = service('messaging');
    const allowed = policy.current!;
    policy.set(activePolicy({ ...allowed.snapshot, rules: [] }));
    const socket = dial();
    socket.write('hello');
    assert.equal(await saidBy(socket), '');
    assert.equal(sockets.length, before);
    assert.equal(service('messaging').records.at(-1)?.reason, 'route_not_allowed');
    policy.set(allowed);
  });

  for (const name of ['messaging', 'api'] as const) {
    test(`any more ends when the policy of ${name} changes, and no other does`, async () => {
      const { policy } = service(name);
      const allowed = policy.current!;
      const socket = dial();
      socket.write('x');
      await once(socket, 'data');
      policy.set(activePolicy({ ...allowed.snapshot, version: 'another' }));
      socket.write('still');
      assert.equal(String((await once(socket, 'data'))[0]), 'STILL');
      policy.set(activePolicy({ ...allowed.snapshot, ...(name === 'api' ? { calls: [] } : { rules: [] }) }));
      assert.equal(await saidBy(socket), '');
      policy.set(allowed);
      await eventually(async () => {
        const again = dial();
        again.end('again ');
        assert.equal(await saidBy(again), 'AGAIN bye');
      });
    });
  }

  test('because nobody listens behind it is closed, and says so in its record', async () => {
    await withoutApplication(async () => {
      assert.equal(await saidBy(dial()), '');
      assert.equal(service('messaging').records.at(-1)?.reason, 'upstream_unreachable');
    });
  });

  test('because its application went before this instance is handed back, for another to take it', async () => {
    const { port } = application.address() as AddressInfo;
    const socket = await started.mesh.dialAs(service('api').id, 'messaging', 'h2');
    const client = connectHttp2('https://messaging', { createConnection: () => socket });
    const answerTo = async () => {
      const request = client.request({ ':method': 'CONNECT', ':authority': `messaging:${port}` });
      request.once('response', () => request.close());
      await new Promise((resolve) => request.once('close', resolve).on('error', () => {}));
      return request.rstCode;
    };
    await withoutApplication(async () => {
      assert.equal(await answerTo(), constants.NGHTTP2_NO_ERROR, 'an answer, while the instance stays');
      isLeaving = true;
      assert.equal(await answerTo(), constants.NGHTTP2_REFUSED_STREAM);
      isLeaving = false;
      assert.equal(service('messaging').records.at(-1)?.reason, 'upstream_unreachable');
    });
    client.destroy();
  });
});

test('a call by name of a port that is not of HTTP is refused before anything is sent', async () => {
  const answer = await callHttp({ port: service('api').dataPlane.outboundPort!, authority: 'messaging', path: '/' });
  assert.equal(answer.status, 400);
});
