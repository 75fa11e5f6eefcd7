import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { parseSpiffeId, workloadId } from '#certs/spiffe-id.ts';
import type { Svid } from '#certs/svid.ts';
import { type ListenOptions, listenMtls, type Refusal } from '#net/accept.ts';
import { type DialOptions, dialMtls } from '#net/dial.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { systemClock } from '#runtime/clock.ts';
import { WatchSource } from '#runtime/watch.ts';
import { eventually } from '../support/eventually.ts';
import { testAuthority } from '../support/test-authority.ts';

const cell = await testAuthority(systemClock);
const foreignCell = await testAuthority(systemClock, 'cell-2.example.com');
const api = await cell.issue(workloadId(cell.trustDomain, 'messaging', 'api'));
const delivery = await cell.issue(workloadId(cell.trustDomain, 'messaging', 'delivery'));
const foreigner = await foreignCell.issue(workloadId(foreignCell.trustDomain, 'messaging', 'api'));

function identityOf(svid: Svid, bundles = cell.bundles): WatchSource<TlsIdentity> {
  return new WatchSource<TlsIdentity>({ svid, bundles });
}

/** Answers every chunk with itself. */
async function echo<A extends 'refuse' | 'allow' = 'refuse'>(change: Partial<ListenOptions<A>> = {}) {
  const refusals: Refusal[] = [];
  const peers: (string | undefined)[] = [];
  const listener = await listenMtls<A>({
    host: '127.0.0.1',
    port: 0,
    identity: identityOf(delivery),
    alpn: ['http/1.1'],
    anonymous: 'refuse' as A,
    clock: systemClock,
    onConnection: ({ socket, peer }) => {
      peers.push(peer?.id);
      socket.on('data', (chunk) => void socket.write(chunk));
    },
    onRefused: (refusal) => void refusals.push(refusal),
    ...change,
  });
  return { listener, refusals, peers, [Symbol.asyncDispose]: () => listener.close(0) };
}

function dialTo(address: { host: string; port: number }, change: Partial<DialOptions> = {}) {
  return dialMtls({
    ...address,
    identity: identityOf(api),
    expect: delivery.id,
    alpn: ['http/1.1'],
    clock: systemClock,
    ...change,
  });
}

test('two processes that hold SVIDs of one cell shake hands, and each knows who the other is', async () => {
  await using server = await echo();
  const { socket, peer } = await dialTo(server.listener.address);
  assert.equal(peer.id, delivery.id);
  assert.equal(peer.trustDomain, cell.trustDomain);
  assert.equal(peer.serial, delivery.chain[0]!.serial);
  assert.equal(peer.notAfter, delivery.chain[0]!.notAfter);
  assert.equal(socket.getProtocol(), 'TLSv1.3');
  assert.equal(socket.alpnProtocol, 'http/1.1');
  socket.write('hello');
  const [chunk] = await once(socket, 'data');
  assert.equal(chunk.toString(), 'hello');
  assert.deepEqual(server.peers, [api.id]);
  assert.equal(server.listener.connections.size, 1);
  socket.destroy();
  await eventually(() => assert.equal(server.listener.connections.size, 0));
  assert.deepEqual(server.refusals, []);
});

test('the exact ID is demanded: another workload of the same cell is refused', async () => {
  await using server = await echo();
  await assert.rejects(dialTo(server.listener.address, { expect: api.id }), {
    code: 'peer_refused',
    rule: 'id_unexpected',
  });
  const isMessaging = (id: string) => id.includes('/ns/messaging/');
  (await dialTo(server.listener.address, { expect: isMessaging })).socket.destroy();
  await assert.rejects(dialTo(server.listener.address, { expect: () => false }), { rule: 'id_unexpected' });
});

test('a client of a foreign trust domain is refused by the server, and gets nothing to read', async () => {
  await using server = await echo();
  const { socket } = await dialTo(server.listener.address, { identity: identityOf(foreigner) });
  socket.write('hello');
  await once(socket, 'close');
  assert.deepEqual(server.peers, []);
  assert.deepEqual(
    server.refusals.map(({ address, rule }) => ({ address, rule })),
    [{ address: '127.0.0.1', rule: 'trust_domain_unknown' }],
  );
});

test('a server of a foreign trust domain is refused by the client', async () => {
  await using server = await echo({ identity: identityOf(foreigner) });
  await assert.rejects(dialTo(server.listener.address, { expect: () => true }), { rule: 'trust_domain_unknown' });
});

test('a federated trust domain is accepted, each against its own bundle only', async () => {
  const both = new Map([...cell.bundles, ...foreignCell.bundles]);
  await using server = await echo({ identity: identityOf(delivery, both) });
  const { socket } = await dialTo(server.listener.address, { identity: identityOf(foreigner, both) });
  await eventually(() => assert.deepEqual(server.peers, [foreigner.id]));
  socket.destroy();
  const impostor = await testAuthority(systemClock, 'cell-2.example.com');
  const mixed = new Map([...cell.bundles, ...impostor.bundles]);
  await using strict = await echo({ identity: identityOf(delivery, mixed) });
  const refused = await dialTo(strict.listener.address, { identity: identityOf(foreigner, both) });
  await once(refused.socket.resume(), 'close');
  assert.equal(strict.refusals[0]?.rule, 'root_unknown');
});

test('without a certificate a client is let in only where that is allowed, and has no identity then', async () => {
  await using join = await echo<'allow'>({ anonymous: 'allow' });
  const anonymous = new WatchSource({ bundles: cell.bundles });
  const { socket, peer } = await dialTo(join.listener.address, { identity: anonymous });
  assert.equal(peer.id, delivery.id);
  await eventually(() => assert.deepEqual(join.peers, [undefined]));
  socket.destroy();
  const known = await dialTo(join.listener.address);
  await eventually(() => assert.deepEqual(join.peers, [undefined, api.id]));
  known.socket.destroy();
  const wrong = await dialTo(join.listener.address, { identity: identityOf(foreigner) });
  await once(wrong.socket.resume(), 'close');
  assert.equal(join.refusals[0]?.rule, 'trust_domain_unknown');

  await using server = await echo();
  const refused = await dialTo(server.listener.address, { identity: anonymous });
  await once(refused.socket.resume(), 'close');
  assert.equal(server.refusals[0]?.rule, 'certificate_missing');
});

test('one protocol is agreed on, or there is no connection', async () => {
  await using server = await echo({ alpn: ['h2', 'http/1.1'] });
  const both = await dialTo(server.listener.address, { alpn: ['http/1.1', 'h2'] });
  assert.equal(both.socket.alpnProtocol, 'h2');
  both.socket.destroy();
  await assert.rejects(dialTo(server.listener.address, { alpn: ['ftp'] }), { code: 'dial_failed' });
  await eventually(() => assert.equal(server.refusals.at(-1)?.rule, 'alpn'));
  await assert.rejects(dialTo(server.listener.address, { alpn: [] }), { rule: 'alpn' });
  await eventually(() => assert.equal(server.refusals.length, 2));
  assert.equal(server.refusals.at(-1)?.rule, 'alpn');
});

test('a dial that nobody answers, one that is aborted and one that takes too long are typed errors', async () => {
  const server = await echo();
  await server.listener.close(0);
  await assert.rejects(dialTo(server.listener.address), { code: 'dial_failed', retryable: true });
  const reason = new Error('stopping');
  await assert.rejects(dialTo(server.listener.address, { signal: AbortSignal.abort(reason) }), reason);
  await using busy = await echo();
  const abort = new AbortController();
  const dialing = dialTo(busy.listener.address, { signal: abort.signal });
  abort.abort(reason);
  await assert.rejects(dialing, reason);
});

test('a taken port is named, and a foreign address too', async () => {
  await using server = await echo();
  await assert.rejects(echo({ port: server.listener.address.port }), { code: 'port_taken' });
  await assert.rejects(echo({ host: '192.0.2.1' }), { code: 'listen_failed' });
});

test('it works over IPv6', async () => {
  await using server = await echo({ host: '::1' });
  const { socket, peer } = await dialTo({ host: '::1', port: server.listener.address.port });
  assert.equal(peer.id, delivery.id);
  socket.destroy();
});

test('the ID in a certificate decides, the name that was dialled does not', async () => {
  await using server = await echo();
  const { socket } = await dialTo({ host: 'localhost', port: server.listener.address.port });
  assert.equal(
    socket.servername === undefined || (socket.servername as unknown) === false || socket.servername === '',
    true,
  );
  socket.destroy();
});

test('the SPIFFE ID of an authority cannot be dialled', async () => {
  await using server = await echo();
  const expect = parseSpiffeId(`spiffe://${cell.trustDomain}`);
  await assert.rejects(dialTo(server.listener.address, { expect }), { rule: 'id_unexpected' });
});
