import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { ClientRecorder, outgoing } from '../support/client-recorder.ts';
import { frame, getHead, http2MemoryServer, preface, settings } from '../support/http2-frames.ts';
import { lendingPair } from '../support/lending-pair.ts';

describe('a connection that is lost with open streams leaves no timer that holds it', () => {
  test('of a server', async () => {
    using server = http2MemoryServer(() => {});
    await server.send(preface, settings(), frame('HEADERS', 5, 1, getHead), frame('HEADERS', 5, 3, getHead));
    server.client.destroy();
    await server.settle();
    assert.equal(server.isClosed, true);
    assert.equal(server.clock.pendingTimers, 0);
  });

  test('of a client', async () => {
    const clock = new FakeClock();
    const [peer, ours] = lendingPair();
    await using pool = new UpstreamPool({ clock });
    const upstream = { key: 'peer', protocol: 'h2', connect: async () => ours } as const;
    const recorder = new ClientRecorder(null);
    pool.request(upstream, outgoing('POST'), recorder);
    peer.resume().write(settings());
    await clock.advance(1);
    peer.destroy();
    assert.equal((await recorder.done).error?.code, 'upstream_failed');
    assert.equal(clock.pendingTimers, 0);
  });
});
