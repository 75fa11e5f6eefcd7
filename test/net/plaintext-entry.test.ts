import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { workloadId } from '#certs/spiffe-id.ts';
import { type ListenOptions, listenMtls, type Refusal } from '#net/accept.ts';
import { dialMtls } from '#net/dial.ts';
import type { PlaintextEntry } from '#net/first-byte.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { systemClock } from '#runtime/clock.ts';
import { WatchSource } from '#runtime/watch.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { testAuthority } from '../support/test-authority.ts';

const cell = await testAuthority(systemClock);
const identityOf = async (name: string) =>
  new WatchSource<TlsIdentity>({
    svid: await cell.issue(workloadId(cell.trustDomain, 'messaging', name)),
    bundles: cell.bundles,
  });
const [server, client] = [await identityOf('delivery'), await identityOf('api')];

/** What is given away, and what the client said on it. */
class Given implements PlaintextEntry {
  readonly sockets: Socket[] = [];
  isTaken = true;
  silence: number | undefined;

  get size(): number {
    return this.sockets.filter(({ destroyed }) => !destroyed).length;
  }

  isOpen(): boolean {
    return this.isTaken;
  }

  silenceMs(): number | undefined {
    return this.silence;
  }

  onConnection(socket: Socket): void {
    this.sockets.push(socket.on('error', () => {}));
  }
}

async function listening(change: Partial<ListenOptions> = {}) {
  const given = new Given();
  const refusals: Refusal[] = [];
  const listener = await listenMtls({
    ...{ host: '127.0.0.1', port: 0, identity: server, alpn: ['h2'], anonymous: 'refuse', clock: systemClock },
    onConnection: ({ socket }) => void socket.pipe(socket),
    onRefused: (refusal) => void refusals.push(refusal),
    plaintext: given,
    ...change,
  });
  const dial = async () => {
    const socket = connect(listener.address).on('error', () => {});
    await once(socket, 'connect');
    return socket;
  };
  const close = async () => {
    for (const socket of given.sockets) socket.destroy();
    await listener.close(0);
  };
  return { given, refusals, listener, dial, [Symbol.asyncDispose]: close };
}

describe('a listener for TLS that takes what is none', () => {
  test('gives it away with all that its client has said, and serves TLS as ever', async () => {
    await using it = await listening();
    const plain = await it.dial();
    plain.write('h');
    await eventually(() => assert.equal(it.given.size, 1));
    plain.write('ello');
    const [accepted] = it.given.sockets;
    let said = '';
    accepted!.on('data', (bytes) => {
      said += String(bytes);
    });
    accepted!.resume();
    await eventually(() => assert.equal(said, 'hello'));

    const address = it.listener.address;
    const expect = server.current.svid.id;
    const dialed = await dialMtls({ ...address, identity: client, expect, alpn: ['h2'], clock: systemClock });
    dialed.socket.write('of the mesh');
    assert.equal(String((await once(dialed.socket, 'data'))[0]), 'of the mesh');
    dialed.socket.destroy();
    assert.deepEqual(it.refusals, []);
  });

  test('looks at nothing while it does not', async () => {
    await using it = await listening();
    it.given.isTaken = false;
    (await it.dial()).write('GET / HTTP/1.1\r\n\r\n');
    await eventually(() =>
      assert.deepEqual(
        it.refusals.map(({ rule }) => rule),
        ['plaintext'],
      ),
    );
    assert.equal(it.given.sockets.length, 0);
  });

  test('waits for a silent client only as long as it is told to, and then it is for the server to speak', async () => {
    const clock = new FakeClock();
    await using it = await listening({ clock });
    it.given.silence = 500;
    await it.dial();
    await eventually(() => assert.ok(clock.pendingTimers > 1));
    await clock.advance(499);
    assert.equal(it.given.size, 0);
    await clock.advance(1);
    assert.equal(it.given.size, 1);
    await clock.advance(60_000);
    assert.deepEqual([it.given.size, it.refusals], [1, []]);
  });

  test('does not wait for ever for a first byte', async () => {
    const clock = new FakeClock();
    await using it = await listening({ clock });
    await it.dial();
    await eventually(() => assert.ok(clock.pendingTimers > 0));
    await clock.advance(10_000);
    assert.deepEqual([it.given.size, it.refusals.map(({ rule }) => rule)], [0, ['handshake_timeout']]);
  });

  test('counts a client that goes without a word', async () => {
    await using it = await listening();
    (await it.dial()).end();
    await eventually(() =>
      assert.deepEqual(
        it.refusals.map(({ rule }) => rule),
        ['handshake'],
      ),
    );
    assert.equal(it.given.sockets.length, 0);
  });

  test('keeps half of its room for TLS', async () => {
    await using it = await listening({ limits: { connectionsMax: 4 } });
    for (let n = 1; n <= 2; n++) {
      (await it.dial()).write('x');
      await eventually(() => assert.equal(it.given.size, n));
    }
    (await it.dial()).write('x');
    await eventually(() =>
      assert.deepEqual(
        it.refusals.map(({ rule }) => rule),
        ['connections_max'],
      ),
    );
    assert.equal(it.given.sockets.length, 2);
  });
});
