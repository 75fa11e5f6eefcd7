import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { toPem } from '#certs/pem.ts';
import { workloadId } from '#certs/spiffe-id.ts';
import { chainPem, privateKeyPem } from '#certs/svid.ts';
import { type ListenOptions, listenMtls, type Refusal } from '#net/accept.ts';
import { type DialOptions, dialMtls } from '#net/dial.ts';
import { listenAddress } from '#net/listen-address.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { systemClock } from '#runtime/clock.ts';
import { WatchSource } from '#runtime/watch.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { testAuthority } from '../support/test-authority.ts';

const cell = await testAuthority(systemClock);
const api = await cell.issue(workloadId(cell.trustDomain, 'messaging', 'api'));
const delivery = await cell.issue(workloadId(cell.trustDomain, 'messaging', 'delivery'));
const rootPem = [...cell.bundles.values()]
  .flatMap(({ roots }) => roots.map(({ der }) => toPem('CERTIFICATE', der)))
  .join('');
const identity = new WatchSource<TlsIdentity>({ svid: delivery, bundles: cell.bundles });
const client = new WatchSource<TlsIdentity>({ svid: api, bundles: cell.bundles });

async function listening(change: Partial<ListenOptions> = {}) {
  const refusals: Refusal[] = [];
  const listener = await listenMtls({
    host: '127.0.0.1',
    port: 0,
    identity,
    alpn: ['http/1.1'],
    anonymous: 'refuse',
    clock: systemClock,
    onConnection: ({ socket }) => void socket.on('data', (chunk) => void socket.write(chunk)),
    onRefused: (refusal) => void refusals.push(refusal),
    ...change,
  });
  return { listener, refusals, [Symbol.asyncDispose]: () => listener.close(0) };
}

function dialTo(address: { host: string; port: number }, change: Partial<DialOptions> = {}) {
  return dialMtls({
    ...address,
    identity: client,
    expect: delivery.id,
    alpn: ['http/1.1'],
    clock: systemClock,
    ...change,
  });
}

function rawTo({ host, port }: { host: string; port: number }): Socket {
  const socket = connect(port, host);
  socket.on('error', () => undefined);
  return socket.resume();
}

test('plaintext, garbage, a torn hello and a scan are refused, and do not disturb a good connection', async () => {
  await using server = await listening();
  const good = await dialTo(server.listener.address);
  const attempts: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), /^plaintext$/],
    [Buffer.from('CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n'), /^plaintext$/],
    [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), /^plaintext$/],
    [randomBytes(2048), /^(plaintext|handshake)$/],
    [Buffer.alloc(70_000), /^plaintext$/],
    [Buffer.from('16030100ff010000fb0303', 'hex'), /^handshake$/],
    [Buffer.from('1503030002022a', 'hex'), /^handshake$/],
    [Buffer.alloc(0), /^handshake$/],
  ];
  for (const [index, [bytes, rule]] of attempts.entries()) {
    const socket = rawTo(server.listener.address);
    await once(socket, 'connect');
    socket.end(bytes);
    await eventually(() => assert.equal(server.refusals.length, index + 1));
    assert.match(server.refusals[index]!.rule, rule);
    assert.equal(server.refusals[index]!.address, '127.0.0.1');
    assert.doesNotMatch(server.refusals[index]!.reason, /\n/);
  }
  const answer = once(good.socket, 'data');
  good.socket.write('still here');
  assert.equal(String((await answer)[0]), 'still here');
  assert.equal(server.listener.connections.size, 1);
});

test('two hundred mutations of a real hello end in refusals only', async () => {
  const hello = await recordedHello();
  await using server = await listening();
  for (let round = 0; round < 200; round++) {
    const changed = Buffer.from(hello);
    for (let flips = 0; flips <= round % 5; flips++)
      changed[(round * 7919 + flips * 104729) % changed.length]! ^= 1 << (round % 8);
    const socket = rawTo(server.listener.address);
    socket.write(changed);
    socket.end();
    if (round % 20 === 0) await once(socket, 'close');
  }
  await eventually(() => assert.equal(server.refusals.length, 200));
  (await dialTo(server.listener.address)).socket.destroy();
});

async function recordedHello(): Promise<Buffer> {
  const sink = createServer();
  sink.listen(0, '127.0.0.1');
  await once(sink, 'listening');
  const accepted = once(sink, 'connection');
  const dialling = dialTo({ host: '127.0.0.1', port: (sink.address() as AddressInfo).port });
  const [socket] = (await accepted) as [Socket];
  const [hello] = await once(socket, 'data');
  socket.destroy();
  await assert.rejects(dialling, { code: 'dial_failed' });
  sink.close();
  return hello;
}

test('who connects and says nothing is cut off after the handshake time-out, and refused once', async () => {
  const clock = new FakeClock(Date.now());
  await using server = await listening({ clock });
  const socket = rawTo(server.listener.address);
  await once(socket, 'connect');
  await eventually(() => assert.equal(clock.pendingTimers, 1));
  await clock.advance(9_999);
  assert.equal(server.refusals.length, 0);
  await clock.advance(1);
  await eventually(() => assert.equal(socket.destroyed, true));
  await clock.advance(1);
  assert.deepEqual(
    server.refusals.map(({ rule }) => rule),
    ['handshake_timeout'],
  );
});

test('a client gives up on a server that says nothing', async () => {
  const silent = createServer((socket) => void socket.on('error', () => undefined));
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const clock = new FakeClock(Date.now());
  const dialling = dialTo({ host: '127.0.0.1', port: (silent.address() as AddressInfo).port }, { clock });
  await clock.advance(4_999);
  assert.equal(clock.pendingTimers, 1);
  await Promise.all([assert.rejects(dialling, { code: 'dial_timeout', retryable: true }), clock.advance(1)]);
  silent.close();
});

test('a client that talks to a plaintext server gets a typed error', async () => {
  const plain = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
  });
  plain.listen(0, '127.0.0.1');
  await once(plain, 'listening');
  await assert.rejects(dialTo({ host: '127.0.0.1', port: (plain.address() as AddressInfo).port }), {
    code: 'dial_failed',
  });
  plain.close();
});

test('at the limit of connections the next one is refused, and let in when one has closed', async () => {
  await using server = await listening({ limits: { connectionsMax: 2 } });
  const first = await dialTo(server.listener.address);
  const second = await dialTo(server.listener.address);
  await assert.rejects(dialTo(server.listener.address), { code: 'dial_failed' });
  assert.equal(server.refusals[0]?.rule, 'connections_max');
  first.socket.destroy();
  await eventually(() => assert.equal(server.listener.connections.size, 1));
  const third = await dialTo(server.listener.address);
  for (const { socket } of [second, third]) socket.destroy();
});

test('open handshakes are bounded below connections', async () => {
  await using server = await listening({ limits: { handshakesMax: 1 } });
  const slow = rawTo(server.listener.address);
  await once(slow, 'connect');
  await assert.rejects(dialTo(server.listener.address), { code: 'dial_failed' });
  assert.equal(server.refusals[0]?.rule, 'handshakes_max');
  slow.destroy();
  await eventually(async () => (await dialTo(server.listener.address)).socket.destroy());
});

test('where handshakes have no room left, the slowest gives way to whoever comes, once it has taken a second', async () => {
  const clock = new FakeClock();
  await using server = await listening({ clock, limits: { handshakesMax: 2 } });
  const slow = [rawTo(server.listener.address), rawTo(server.listener.address)];
  await Promise.all(slow.map((socket) => once(socket, 'connect')));
  await assert.rejects(dialTo(server.listener.address), { code: 'dial_failed' });
  await clock.advance(1_000);
  const closed = once(slow[0]!, 'close');
  const { socket } = await dialTo(server.listener.address);
  await closed;
  assert.deepEqual([slow[0]!.destroyed, slow[1]!.destroyed], [true, false]);
  assert.deepEqual(
    server.refusals.map(({ rule }) => rule),
    ['handshakes_max', 'handshakes_max'],
  );
  for (const one of [socket, ...slow]) one.destroy();
});

test('a reset in the middle of a stream is a close on both sides, not the end of the process', async () => {
  await using server = await listening();
  const wires: Socket[] = [];
  const wire = createServer((near) => {
    const far = connect(server.listener.address.port, '127.0.0.1');
    for (const socket of [near, far]) wires.push(socket.on('error', () => undefined));
    near.pipe(far).pipe(near);
  });
  wire.listen(0, '127.0.0.1');
  await once(wire, 'listening');
  const { socket } = await dialTo({ host: '127.0.0.1', port: (wire.address() as AddressInfo).port });
  await eventually(() => assert.equal(server.listener.connections.size, 1));
  socket.write('half a');
  for (const one of wires) one.resetAndDestroy();
  await eventually(() => assert.equal(socket.resume().destroyed, true));
  await eventually(() => assert.equal(server.listener.connections.size, 0));
  wire.close();
});

test('a handler that throws costs its own connection only', async () => {
  await using server = await listening({
    onConnection: () => {
      throw new Error('a bug');
    },
  });
  const { socket } = await dialTo(server.listener.address);
  await once(socket.resume(), 'close');
  assert.equal(server.refusals[0]?.rule, 'handler_failed');
  assert.equal(server.listener.connections.size, 0);
});

test('TLS 1.2 is not spoken', async () => {
  await using server = await listening();
  const socket = tlsConnect({
    ...server.listener.address,
    ca: rootPem,
    cert: chainPem(api.chain),
    key: privateKeyPem(api),
    maxVersion: 'TLSv1.2',
    rejectUnauthorized: false,
  });
  const [error] = await once(socket, 'error');
  assert.match(error.code, /PROTOCOL_VERSION/);
  await eventually(() => assert.equal(server.refusals[0]?.rule, 'handshake'));
});

test('SNI chooses nothing: whatever name is sent, the same identity answers', async () => {
  await using server = await listening();
  for (const servername of ['a.example.com', 'A.EXAMPLE.COM', 'x'.repeat(200)]) {
    const socket = tlsConnect({
      ...server.listener.address,
      servername,
      ca: rootPem,
      cert: chainPem(api.chain),
      key: privateKeyPem(api),
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
    });
    await once(socket, 'secureConnect');
    assert.equal(socket.getPeerX509Certificate()?.raw.equals(delivery.chain[0]!.der), true);
    socket.destroy();
  }
});

test('no session is resumed', async () => {
  await using server = await listening();
  const options = {
    ...server.listener.address,
    ca: rootPem,
    cert: chainPem(api.chain),
    key: privateKeyPem(api),
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
  };
  const first = tlsConnect(options);
  const sessions: Buffer[] = [];
  first.on('session', (session) => void sessions.push(session));
  await once(first, 'secureConnect');
  first.write('x');
  await once(first, 'data');
  first.destroy();
  for (const session of sessions) {
    const again = tlsConnect({ ...options, session });
    await once(again, 'secureConnect');
    assert.equal(again.isSessionReused(), false);
    again.destroy();
  }
});

/** The command ends by itself when it has read all of `input`; a process that hangs is ended by the time-out. */
function openssl(words: readonly string[], input: string): Promise<string> {
  return new Promise((resolve) => {
    const child = execFile('openssl', words, { timeout: 10_000 }, (_, stdout, stderr) => resolve(stdout + stderr));
    child.stdin?.end(input);
  });
}

test('openssl s_client with a right certificate is a first-class peer; without one it is refused', async () => {
  await using directory = await temporaryDirectory();
  const file = (name: string, text: string) => {
    writeFileSync(join(directory.path, name), text, { mode: 0o600 });
    return join(directory.path, name);
  };
  const root = file('root.pem', rootPem);
  const leaf = file('leaf.pem', chainPem(api.chain.slice(0, 1)));
  const issuers = file('issuers.pem', chainPem(api.chain.slice(1)));
  const key = file('key.pem', privateKeyPem(api));
  const peers: string[] = [];
  await using server = await listening({
    onConnection: ({ socket, peer }) => {
      peers.push(peer.id);
      socket.end('welcome\n');
    },
  });
  const { host, port } = server.listener.address;
  const words = [
    's_client',
    '-connect',
    `${host}:${port}`,
    '-alpn',
    'http/1.1',
    '-CAfile',
    root,
    '-verify_return_error',
    '-x509_strict',
  ];
  const output = await openssl([...words, '-cert', leaf, '-cert_chain', issuers, '-key', key], '');
  assert.deepEqual(peers, [api.id], output);
  assert.match(output, /Verify return code: 0 \(ok\)/);
  await openssl(words, '');
  await eventually(() => assert.equal(server.refusals[0]?.rule, 'certificate_missing'));
});

test('openssl s_server with a right certificate is dialled like one of ours', async () => {
  await using directory = await temporaryDirectory();
  const path = (name: string) => join(directory.path, name);
  writeFileSync(path('root.pem'), rootPem);
  writeFileSync(path('leaf.pem'), chainPem(delivery.chain.slice(0, 1)));
  writeFileSync(path('issuers.pem'), chainPem(delivery.chain.slice(1)));
  writeFileSync(path('key.pem'), privateKeyPem(delivery), { mode: 0o600 });
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  const words = [
    's_server',
    '-accept',
    `127.0.0.1:${port}`,
    '-alpn',
    'http/1.1',
    '-tls1_3',
    '-Verify',
    '4',
    '-verify_return_error',
  ];
  const files = [
    '-CAfile',
    path('root.pem'),
    '-cert',
    path('leaf.pem'),
    '-cert_chain',
    path('issuers.pem'),
    '-key',
    path('key.pem'),
  ];
  const child = spawn('openssl', [...words, ...files], { stdio: ['pipe', 'ignore', 'ignore'] });
  try {
    const { socket, peer } = await eventually(() => dialTo({ host: '127.0.0.1', port }));
    assert.equal(peer.id, delivery.id);
    assert.equal(socket.alpnProtocol, 'http/1.1');
    socket.destroy();
  } finally {
    child.kill();
  }
});

test('who is refused at a port of both families is told of by the address that it has', async () => {
  const { host } = await listenAddress({ host: '::', port: 0 });
  await using server = await listening({ host });
  const { port } = server.listener.address;
  rawTo({ host: '127.0.0.1', port }).end('x');
  await eventually(() => assert.equal(server.refusals[0]?.address, '127.0.0.1'));
});
