import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { workloadId } from '#certs/spiffe-id.ts';
import type { Svid } from '#certs/svid.ts';
import { bundlesOf, type TrustBundles } from '#certs/trust-bundle.ts';
import { type ListenOptions, listenMtls, type Refusal } from '#net/accept.ts';
import type { DrainReason, MtlsConnection } from '#net/connection-guard.ts';
import { type DialOptions, dialMtls } from '#net/dial.ts';
import { type TlsIdentity, watchTlsIdentity } from '#net/tls-identity.ts';
import { WatchSource } from '#runtime/watch.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { testAuthority } from '../support/test-authority.ts';

/** OpenSSL looks at the machine's clock: the fake one starts there. */
async function setting(change: Partial<ListenOptions> = {}) {
  const clock = new FakeClock(Math.floor(Date.now() / 1000) * 1000);
  const cell = await testAuthority(clock);
  const api = await cell.issue(workloadId(cell.trustDomain, 'messaging', 'api'));
  const delivery = await cell.issue(workloadId(cell.trustDomain, 'messaging', 'delivery'));
  const server = new WatchSource<TlsIdentity>({ svid: delivery, bundles: cell.bundles });
  const client = new WatchSource<TlsIdentity>({ svid: api, bundles: cell.bundles });
  const drained: DrainReason[] = [];
  const refusals: Refusal[] = [];
  const listener = await listenMtls({
    host: '127.0.0.1',
    port: 0,
    identity: server,
    alpn: ['http/1.1'],
    anonymous: 'refuse',
    clock,
    onConnection: ({ socket }) => void socket.on('data', (chunk) => void socket.write(chunk)),
    onRefused: (refusal) => void refusals.push(refusal),
    onDrain: (_, reason) => void drained.push(reason),
    ...change,
  });
  const dial = (more: Partial<DialOptions> = {}) =>
    dialMtls({ ...listener.address, identity: client, expect: delivery.id, alpn: ['http/1.1'], clock, ...more });
  return {
    clock,
    cell,
    api,
    delivery,
    server,
    client,
    drained,
    refusals,
    listener,
    dial,
    [Symbol.asyncDispose]: () => listener.close(0),
  };
}

async function answers({ socket }: MtlsConnection): Promise<void> {
  const answer = once(socket, 'data');
  socket.write('ping');
  const [chunk] = await answer;
  assert.equal(chunk.toString(), 'ping');
}

test('a new SVID is used by the next connection, and the open one goes on', async () => {
  await using at = await setting();
  const before = await at.dial();
  await answers(before);
  const renewed = await at.cell.issue(at.delivery.id);
  at.server.set({ svid: renewed, bundles: at.cell.bundles });
  const after = await at.dial();
  assert.equal(before.peer.serial, at.delivery.chain[0]!.serial);
  assert.equal(after.peer.serial, renewed.chain[0]!.serial);
  await answers(before);
  await answers(after);
  assert.deepEqual(at.drained, []);
});

test('four renewals of both ends in a row drop no connection', async () => {
  await using at = await setting();
  const connections = [await at.dial()];
  for (let round = 0; round < 4; round++) {
    at.server.set({ svid: await at.cell.issue(at.delivery.id), bundles: at.cell.bundles });
    at.client.set({ svid: await at.cell.issue(at.api.id), bundles: at.cell.bundles });
    connections.push(await at.dial());
    for (const connection of connections) await answers(connection);
  }
  assert.equal(at.listener.connections.size, 5);
  assert.deepEqual(at.refusals, []);
});

test('a bundle that keeps the root of a peer keeps its connection; one that drops it drains only that one', async () => {
  const next = await testAuthority(new FakeClock(Date.now()));
  await using at = await setting();
  const roots = (...cells: readonly { bundles: TrustBundles }[]) =>
    bundlesOf({
      trustDomain: at.cell.trustDomain,
      sequence: 2,
      roots: cells.flatMap((one) => [...one.bundles.values()].flatMap((bundle) => bundle.roots)),
    });
  const old = await at.dial();
  at.server.set({ svid: at.delivery, bundles: roots(at.cell, next) });
  await answers(old);
  const newSvid = await next.issue(at.api.id);
  const byNewRoot = new WatchSource<TlsIdentity>({ svid: newSvid, bundles: at.cell.bundles });
  const young = await at.dial({ identity: byNewRoot });
  await answers(young);
  assert.deepEqual(at.drained, []);

  at.server.set({ svid: at.delivery, bundles: roots(next) });
  assert.deepEqual(at.drained, ['bundle_changed']);
  await answers(old);
  await answers(young);
  await at.clock.advance(10_000);
  await eventually(() => assert.equal(old.socket.resume().destroyed, true));
  await answers(young);
  assert.equal(at.listener.connections.size, 1);
});

test('a client drains what its new bundle no longer trusts', async () => {
  await using at = await setting();
  const drained: DrainReason[] = [];
  const { socket } = await at.dial({ onDrain: (reason) => void drained.push(reason) });
  at.client.set({ svid: at.api, bundles: new Map() });
  assert.deepEqual(drained, ['bundle_changed']);
  at.client.set({ svid: at.api, bundles: new Map() });
  assert.equal(drained.length, 1);
  await at.clock.advance(10_000);
  assert.equal(socket.destroyed, true);
});

test('no connection outlives the certificate of either end: who dialled drains first, and it is closed at the end', async () => {
  for (const short of ['client', 'server'] as const) {
    await using at = await setting();
    const lifetimeMs = 3600_000;
    if (short === 'client')
      at.client.set({ svid: await at.cell.issue(at.api.id, lifetimeMs), bundles: at.cell.bundles });
    else at.server.set({ svid: await at.cell.issue(at.delivery.id, lifetimeMs), bundles: at.cell.bundles });
    const drained: DrainReason[] = [];
    const connection = await at.dial({ onDrain: (reason) => void drained.push(reason) });
    await answers(connection);
    await at.clock.advance(lifetimeMs - 20_001);
    assert.deepEqual([drained, at.drained], [[], []]);
    await answers(connection);
    await at.clock.advance(1);
    assert.deepEqual([drained, at.drained], [['certificate_ends'], []]);
    await answers(connection);
    await at.clock.advance(10_000);
    assert.deepEqual([drained, at.drained], [['certificate_ends'], ['certificate_ends']]);
    await answers(connection);
    await at.clock.advance(10_000);
    assert.equal(connection.socket.destroyed, true);
    await eventually(() => assert.equal(at.listener.connections.size, 0));
  }
});

test('a renewed certificate does not prolong a connection that was made with the old one', async () => {
  await using at = await setting();
  at.client.set({ svid: await at.cell.issue(at.api.id, 60_000), bundles: at.cell.bundles });
  const { socket } = await at.dial();
  at.client.set({ svid: await at.cell.issue(at.api.id), bundles: at.cell.bundles });
  await at.clock.advance(60_000);
  assert.equal(socket.destroyed, true);
});

test('an SVID that has expired meanwhile is refused by name, at both ends', async () => {
  await using at = await setting();
  const expired: Svid = await at.cell.issue(at.api.id, 1_000);
  at.client.set({ svid: expired, bundles: at.cell.bundles });
  await at.clock.advance(2_000);
  const { socket } = await at.dial({ clock: new FakeClock(Date.now()) });
  await once(socket.resume(), 'close');
  assert.equal(at.refusals[0]?.rule, 'expired');
  at.client.set({ svid: at.api, bundles: at.cell.bundles });
  at.server.set({ svid: await at.cell.issue(at.delivery.id, 1_000), bundles: at.cell.bundles });
  await at.clock.advance(2_000);
  await assert.rejects(at.dial(), { rule: 'expired' });
});

test('a closing listener drains, waits for the grace, and then destroys', async () => {
  await using at = await setting();
  const polite = await at.dial();
  const stubborn = await at.dial();
  await eventually(() => assert.equal(at.listener.connections.size, 2));
  const closing = at.listener.close(5_000);
  assert.deepEqual(at.drained, ['listener_closes', 'listener_closes']);
  await assert.rejects(at.dial(), { code: 'dial_failed' });
  await answers(stubborn);
  polite.socket.end();
  await eventually(() => assert.equal(at.listener.connections.size, 1));
  await at.clock.advance(5_000);
  await closing;
  assert.equal(at.listener.connections.size, 0);
});

test('nothing stays behind a closed connection: no timer, no subscription', async () => {
  await using at = await setting();
  // The authority's, that of its next intermediate.
  const timersBefore = at.clock.pendingTimers;
  const { socket } = await at.dial();
  await eventually(() => assert.equal(at.listener.connections.size, 1));
  assert.equal(at.clock.pendingTimers, timersBefore + 2);
  socket.destroy();
  await eventually(() => assert.equal(at.clock.pendingTimers, timersBefore));
});

test('SVID and bundles that change separately are one identity', () => {
  const svid = new WatchSource('a' as unknown as Svid);
  const bundles = new WatchSource<TrustBundles>(new Map());
  const { identity, close } = watchTlsIdentity(svid, bundles);
  svid.set('b' as unknown as Svid);
  assert.equal(identity.current.svid as unknown, 'b');
  bundles.set(new Map([['x' as never, undefined as never]]));
  assert.equal(identity.current.bundles.size, 1);
  close();
  svid.set('c' as unknown as Svid);
  assert.equal(identity.current.svid as unknown, 'b');
});
