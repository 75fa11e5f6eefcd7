import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import type { ServerExchange } from '#wire/exchange.ts';
import { fieldLine } from '#wire/field-lines.ts';
import { fieldSet } from '#wire/field-names.ts';
import { type ForwardPlan, forward } from '#wire/forward.ts';
import { respond } from '#wire/respond.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { turn } from './support/memory-proxy.ts';
import { type MemoryServer, memoryServer } from './support/memory-server.ts';
import { type FarEnd, type MemoryUpstream, memoryUpstream } from './support/memory-upstream.ts';

const none = fieldSet();
const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

interface Proxy extends AsyncDisposable {
  readonly server: MemoryServer;
  readonly pool: UpstreamPool;
  readonly upstream: MemoryUpstream;
}

/** A proxy in memory before an upstream that `script` plays. */
function proxyTo(
  script: (end: FarEnd, index: number) => void | Promise<void>,
  plan: Partial<ForwardPlan> | ((exchange: ServerExchange<string>) => Partial<ForwardPlan>) = {},
): Proxy {
  const pool = new UpstreamPool({ clock: new FakeClock() });
  const upstream = memoryUpstream(script);
  const server = memoryServer((exchange) =>
    forward(exchange, {
      client: pool,
      upstream,
      target: exchange.request.path,
      request: { drop: none, append: '' },
      ...(typeof plan === 'function' ? plan(exchange) : plan),
    }),
  );
  return {
    server,
    pool,
    upstream,
    async [Symbol.asyncDispose]() {
      server[Symbol.dispose]();
      await pool[Symbol.asyncDispose]();
    },
  };
}

/** Answers the first request with these bytes. */
const answer = (bytes: string) => async (end: FarEnd) => {
  await end.heads(1);
  end.socket.write(bytes);
};

test('heads are edited on both ways; hop-by-hop and nominated fields stay behind', async () => {
  await using proxy = proxyTo(
    answer(
      'HTTP/1.1 201 Made\r\nServer: x\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\ncellmesh-scope: forged\r\nContent-Length: 2\r\n\r\nok',
    ),
    {
      target: '/canonical',
      authority: 'b',
      request: { drop: fieldSet('cellmesh-*', 'cookie'), append: fieldLine('x-added', '1') },
      editResponse: (head) => ({
        drop: fieldSet('cellmesh-*', 'server'),
        append: fieldLine('x-status', String(head.status)),
      }),
    },
  );
  await proxy.server.send(
    'GET /x HTTP/1.1\r\nHost: a\r\nCookie: c\r\ncellmesh-as: self\r\nAccept: */*\r\nTE: x\r\n\r\n',
  );
  assert.equal(
    proxy.upstream.ends[0]?.received,
    'GET /canonical HTTP/1.1\r\nhost: b\r\nAccept: */*\r\nx-added: 1\r\n\r\n',
  );
  assert.equal(proxy.server.answered, 'HTTP/1.1 201 Made\r\nx-status: 201\r\ncontent-length: 2\r\n\r\nok');
});

test('a body until close is passed on in chunks; one cut short is never completed', async () => {
  await using proxy = proxyTo(async (end) => {
    await end.heads(1);
    end.socket.write('HTTP/1.1 200 OK\r\n\r\nhello');
    await turn();
    end.socket.end();
  });
  await proxy.server.send(get);
  assert.match(proxy.server.answered, /transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n$/);

  await using cut = proxyTo(async (end) => {
    await end.heads(1);
    end.socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n');
    await turn();
    end.socket.destroy();
  });
  await cut.server.send(get);
  assert.match(cut.server.answered, /5\r\nhello\r\n$/);
  assert.equal(cut.server.connection.isClosed, true);
});

test('chunks keep their trailers, without forbidden ones; extensions are gone', async () => {
  await using proxy = proxyTo(answer('HTTP/1.1 204 No Content\r\n\r\n'));
  await proxy.server.send(
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n' +
      '3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\nHost: b\r\nAuthorization: x\r\ncellmesh-left: v1\r\nContent-Length: 1\r\nx_y: 1\r\n\r\n',
  );
  assert.equal(
    proxy.upstream.ends[0]?.received,
    'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n',
  );
});

test('interim responses are passed on', async () => {
  await using proxy = proxyTo(
    answer('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
  );
  await proxy.server.send(get);
  assert.equal(
    proxy.server.answered,
    'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n',
  );
});

test('Expect: 100-continue goes to the upstream, whose 100 comes back before the body', async () => {
  await using proxy = proxyTo(async (end) => {
    await end.heads(1);
    await turn();
    end.socket.write('HTTP/1.1 100 Continue\r\n\r\n');
    end.socket.on('data', () => end.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
  });
  await proxy.server.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n');
  assert.equal(proxy.server.answered, 'HTTP/1.1 100 Continue\r\n\r\n');
  assert.match(proxy.upstream.ends[0]?.received ?? '', /expect: 100-continue\r\n\r\n$/);
  await proxy.server.send('ab');
  assert.match(proxy.upstream.ends[0]?.received ?? '', /\r\n\r\nab$/);
  assert.match(proxy.server.answered, /200 OK\r\ncontent-length: 0\r\n\r\n$/);
});

test('a refusal without 100 Continue closes both connections: whether the body follows is unknown', async () => {
  await using proxy = proxyTo(answer('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n'));
  await proxy.server.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n');
  assert.match(proxy.server.answered, /^HTTP\/1.1 401 Unauthorized\r\n.*connection: close\r\n\r\n$/s);
  assert.equal(proxy.server.client.readableEnded, true);
  assert.equal(proxy.pool.load('memory').idle, 0);
});

test('an early response reaches the client while its body is unsent; the upstream connection is not kept', async () => {
  await using proxy = proxyTo(answer('HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig'));
  await proxy.server.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello');
  assert.match(proxy.server.answered, /^HTTP\/1.1 413 Too Large\r\n.*big$/s);
  assert.equal(proxy.pool.load('memory').idle, 0);
  await proxy.server.send(`world${get}`);
  await proxy.server.settle();
  assert.equal(proxy.upstream.ends.length, 2);
  assert.equal(proxy.server.answered.match(/413 Too Large/g)?.length, 2);
});

test('a client that goes away takes its upstream exchange with it', async () => {
  await using proxy = proxyTo(() => {});
  await proxy.server.send(get);
  assert.equal(proxy.pool.load('memory').inFlight, 1);
  proxy.server.client.destroy();
  await proxy.server.settle();
  assert.deepEqual(proxy.pool.load('memory'), { inFlight: 0, idle: 0, queued: 0 });
  assert.equal(proxy.upstream.ends[0]?.socket.readableEnded, true);
});

test('a body that breaks a rule ends the upstream exchange, and the client gets the reason', async () => {
  await using proxy = proxyTo(() => {});
  await proxy.server.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
  assert.match(proxy.upstream.ends[0]?.received ?? '', /abc/);
  await proxy.server.send('nonsense\r\n');
  assert.match(proxy.server.answered, /^HTTP\/1.1 400 Bad Request\r\n.*chunk_size/s);
  assert.doesNotMatch(proxy.upstream.ends[0]?.received ?? '', /0\r\n\r\n$/);
  assert.deepEqual(proxy.pool.load('memory'), { inFlight: 0, idle: 0, queued: 0 });
});

test('an upstream that breaks HTTP is 502, or the answer that the consumer chooses', async () => {
  await using plain = proxyTo(answer('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'));
  await plain.server.send(get + get);
  assert.match(plain.server.answered, /^HTTP\/1.1 502 Bad Gateway\r\n.*content_length_repeated/s);
  await using chosen = proxyTo(answer('nonsense\r\n'), (exchange) => ({
    onFailed: (error) => respond(exchange, { status: error.status, fields: { 'x-code': error.code }, body: 'mine' }),
  }));
  await chosen.server.send(get);
  assert.match(chosen.server.answered, /x-code: upstream_malformed\r\n.*mine$/s);
});

test('after an upstream failed the connection of the client goes on', async () => {
  await using proxy = proxyTo(async (end, index) => {
    await end.heads(1);
    if (index === 0) end.socket.destroy();
    else end.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  });
  await proxy.server.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab');
  assert.match(proxy.server.answered, /^HTTP\/1.1 502 Bad Gateway\r\n/);
  await proxy.server.send(get);
  assert.match(proxy.server.answered, /ok$/);
});

test('a slow client holds the upstream back', async () => {
  let written = 0;
  await using proxy = proxyTo(async (end) => {
    await end.heads(1);
    end.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${100_000_000}\r\n\r\n`);
    const piece = Buffer.alloc(16_384);
    while (!end.socket.destroyed && written < 100_000_000) {
      written += piece.length;
      if (!end.socket.write(piece)) await new Promise((resolve) => end.socket.once('drain', resolve));
    }
  });
  proxy.server.client.pause();
  await proxy.server.send(get);
  for (let i = 0; i < 200; i++) await turn();
  assert.ok(written < 2_000_000, `${written} bytes taken for a client that reads nothing`);
});

test('a slow upstream holds the client back', async () => {
  await using proxy = proxyTo((end) => void end.socket.pause());
  await proxy.server.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n');
  let written = 0;
  for (; written < 100_000_000; written += 16_384) {
    if (!proxy.server.client.write(Buffer.alloc(16_384))) await proxy.server.settle();
    if (proxy.server.client.writableNeedDrain) break;
  }
  assert.ok(written < 2_000_000, `${written} bytes taken for an upstream that reads nothing`);
});

test('an exchange that ended while its handler thought is not forwarded', async () => {
  const pool = new UpstreamPool({ clock: new FakeClock() });
  const upstream = memoryUpstream(() => {});
  let decide = () => {};
  using server = memoryServer(async (exchange) => {
    await new Promise<void>((resolve) => {
      decide = resolve;
    });
    forward(exchange, { client: pool, upstream, target: '/', request: { drop: none, append: '' } });
  });
  await server.send(get);
  server.client.destroy();
  await server.settle();
  decide();
  await server.settle();
  assert.equal(upstream.ends.length, 0);
  assert.deepEqual(server.handlerErrors, []);
});

test('spliced connections pass bytes both ways and end together', async () => {
  const { splice } = await import('#wire/splice.ts');
  const [a, nearA] = duplexPair();
  const [nearB, b] = duplexPair();
  const done = splice(nearA, nearB);
  const read = async (end: typeof a) => {
    let text = '';
    for await (const bytes of end) text += String(bytes);
    return text;
  };
  const both = Promise.all([read(a), read(b)]);
  a.end('to b');
  b.end('to a');
  assert.deepEqual(await both, ['to a', 'to b']);
  await done;
});

test('a plan that throws costs its exchange: 500, or a broken message', async () => {
  const thrown = () => {
    throw new Error('a fault of the consumer');
  };
  await using edits = proxyTo(answer('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'), { editResponse: thrown });
  await edits.server.send(get);
  assert.match(edits.server.answered, /^HTTP\/1.1 500 Internal Server Error\r\n/);
  await using fails = proxyTo((end) => void end.socket.destroy(), { onFailed: thrown });
  await fails.server.send(get);
  assert.equal(fails.server.connection.isClosed, true);
  assert.deepEqual(fails.pool.load('memory'), { inFlight: 0, idle: 0, queued: 0 });
});

test('a small message is one write, on each side', async () => {
  for (const response of [
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nay!\r\n0\r\nX-Sum: 1\r\n\r\n',
  ]) {
    let sent = 0;
    await using proxy = proxyTo(async (end) => {
      end.socket.on('data', () => sent++);
      await answer(response)(end);
    });
    let answered = 0;
    proxy.server.client.on('data', () => answered++);
    await proxy.server.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello');
    assert.deepEqual([sent, answered], [1, 1]);
  }
});
