import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fieldSet } from '#wire/field-names.ts';
import { forward } from '#wire/forward.ts';
import { OpenTunnels } from '#wire/open-tunnels.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import { webSocketAccept } from '#wire/websocket.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { memoryServer } from './support/memory-server.ts';
import { memoryUpstream } from './support/memory-upstream.ts';

const key = 'dGhlIHNhbXBsZSBub25jZQ==';
const asked = `GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`;

/** A proxy whose upstream answers the handshake with `answer`, which gets the key that it was sent. */
function setting(answer: (key: string) => string) {
  const clock = new FakeClock();
  const pool = new UpstreamPool({ clock });
  const tunnels = new OpenTunnels(clock);
  const upstream = memoryUpstream(async (end) => {
    await end.heads(1);
    end.socket.write(answer(/sec-websocket-key: (.*)\r\n/.exec(end.received)?.[1] ?? ''), 'latin1');
  });
  const server = memoryServer((exchange) =>
    forward(exchange, {
      client: pool,
      upstream,
      target: exchange.request.path,
      request: { drop: fieldSet(), append: '' },
      onTunnel: (client, far) => tunnels.join(client, far, { endsInMs: 5_000 }),
    }),
  );
  return {
    clock,
    pool,
    server,
    tunnels,
    upstream,
    async [Symbol.asyncDispose]() {
      tunnels[Symbol.dispose]();
      server[Symbol.dispose]();
      await pool[Symbol.asyncDispose]();
    },
  };
}

const switched = (accept: string) =>
  `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\nX-App: 1\r\n\r\n`;

describe('the handshake of a WebSocket', () => {
  test('is made anew on each side; what follows passes as it is', async () => {
    await using proxy = setting((sent) => `${switched(webSocketAccept(sent))}early`);
    await proxy.server.send(`${asked}before`);
    const [end] = proxy.upstream.ends;
    assert.match(end!.received, /\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: /);
    assert.doesNotMatch(end!.received, new RegExp(key));
    // RFC 6455 1.3 has this pair.
    assert.match(proxy.server.answered, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
    assert.match(
      proxy.server.answered,
      /sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\nX-App: 1\r\n\r\nearly$/,
    );
    assert.match(end!.received, /\r\n\r\nbefore$/);
    assert.equal(proxy.tunnels.size, 1);
    assert.deepEqual(proxy.pool.load('memory'), { inFlight: 0, idle: 0, queued: 0 });
    await proxy.clock.advance(5_000);
    await proxy.server.settle();
    assert.equal(proxy.tunnels.size, 0);
    assert.equal(proxy.server.client.destroyed || proxy.server.client.readableEnded, true);
  });

  test('with the wrong proof, or none, is a fault of the upstream', async () => {
    const wrong = [
      switched(webSocketAccept('another key of sixteen=')),
      switched('x').replace(/Sec-WebSocket-Accept: .*\r\n/, ''),
      switched('x').replace('Upgrade: websocket', 'Upgrade: h2c'),
      switched('x').replace('Connection: Upgrade\r\n', ''),
    ];
    for (const answer of wrong) {
      await using proxy = setting(() => answer);
      await proxy.server.send(asked);
      assert.match(proxy.server.answered, /^HTTP\/1\.1 502 /, answer);
      assert.equal(proxy.tunnels.size, 0);
    }
  });

  test('that the upstream refuses is answered with its answer, and the connection serves on', async () => {
    await using proxy = setting(() => 'HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno');
    await proxy.server.send(asked);
    assert.match(proxy.server.answered, /^HTTP\/1\.1 426 [\s\S]*no$/);
    assert.equal(proxy.server.connection.isClosed, false);
  });
});
