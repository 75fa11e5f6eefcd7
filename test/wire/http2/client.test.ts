import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { describe, test } from 'node:test';
import { systemClock } from '#runtime/clock.ts';
import { connectPlain } from '#wire/connect-plain.ts';
import type { Upstream } from '#wire/exchange.ts';
import type { PoolLimits } from '#wire/limits.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { ClientRecorder, outgoing } from '../support/client-recorder.ts';
import { block, frame, framesOf, preface, settings, uint32 } from '../support/http2-frames.ts';
import { lendingPair } from '../support/lending-pair.ts';
import { turn } from '../support/memory-proxy.ts';

interface Peer extends AsyncDisposable {
  readonly pool: UpstreamPool;
  readonly upstream: Upstream;
  readonly sessions: http2.ServerHttp2Session[];
  send(overrides?: Parameters<typeof outgoing>[1], body?: readonly string[] | null): ClientRecorder;
}

type Answer = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void;

/** Node's own server as the peer, and the engine's pool in front of it. */
async function dial(
  answer: Answer,
  limits: Partial<PoolLimits> = {},
  options: http2.ServerOptions = {},
): Promise<Peer> {
  const server = http2.createServer(options);
  const sessions: http2.ServerHttp2Session[] = [];
  server.on('session', (session) => sessions.push(session));
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    answer(stream as http2.ServerHttp2Stream, headers);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const pool = new UpstreamPool({ clock: systemClock, pool: limits });
  const connect = (signal: AbortSignal) => connectPlain('127.0.0.1', port, signal);
  const upstream: Upstream = { key: 'node', protocol: 'h2', connect };
  return {
    pool,
    upstream,
    sessions,
    send(overrides = {}, body = []) {
      const recorder = new ClientRecorder(body);
      const exchange = pool.request(upstream, outgoing('GET', overrides), recorder);
      recorder.exchange ??= exchange;
      return recorder;
    },
    async [Symbol.asyncDispose]() {
      await pool[Symbol.asyncDispose]();
      for (const session of sessions) session.destroy();
      server.close();
    },
  };
}

const echo: Answer = (stream) => {
  stream.respond({ ':status': 200, 'x-a': 'b' });
  stream.pipe(stream);
};

describe("a request to Node's HTTP/2 server", () => {
  test('carries method, path, authority and fields, and its body comes back', async () => {
    let seen: http2.IncomingHttpHeaders = {};
    await using peer = await dial((stream, headers) => {
      seen = headers;
      echo(stream, headers);
    });
    const body = ['a'.repeat(100_000), 'b'.repeat(200_000)];
    const { done } = peer.send(
      {
        method: 'POST',
        target: '/a?b',
        authority: 'api:80',
        fields: 'X-B: c\r\n',
        framing: 'chunked',
        acceptsTrailers: true,
      },
      body,
    );
    const answered = await done;
    assert.deepEqual([answered.status, answered.body.length, answered.head?.find('x-a')], [200, 300_000, 'b']);
    assert.equal(answered.body, body.join(''));
    const { ':method': method, ':path': path, ':authority': authority, te } = seen;
    assert.deepEqual([method, path, authority, te, seen['x-b']], ['POST', '/a?b', 'api:80', 'trailers', 'c']);
  });

  test('states its length, and gets interim responses and trailers', async () => {
    let length: string | undefined;
    await using peer = await dial((stream, headers) => {
      length = headers['content-length'];
      stream.additionalHeaders({ ':status': 103 });
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end('x');
    });
    const { informed, body, trailers } = await peer.send({ method: 'POST', framing: 'length', contentLength: 3 }, [
      'abc',
    ]).done;
    assert.deepEqual([length, informed, body, trailers], ['3', [103], 'x', 'grpc-status: 0\r\n']);
  });

  test('with HEAD, 204 and 304 has no body', async () => {
    await using peer = await dial((stream, headers) => {
      stream.respond({ ':status': Number(headers[':path']?.slice(1)), 'content-length': 7 }, { endStream: true });
    });
    const head = await peer.send({ method: 'HEAD', target: '/200' }).done;
    assert.deepEqual([head.head?.framing, head.head?.contentLength, head.body], ['none', 7, '']);
    assert.equal((await peer.send({ target: '/304' }).done).status, 304);
  });

  test('shares one connection with a hundred others', async () => {
    await using peer = await dial(echo);
    const all = Array.from({ length: 100 }, (_, i) => peer.send({ method: 'POST', framing: 'chunked' }, [`${i}`]).done);
    assert.deepEqual(
      (await Promise.all(all)).map(({ body }) => body),
      Array.from({ length: 100 }, (_, i) => `${i}`),
    );
    assert.equal(peer.sessions.length, 1);
    assert.deepEqual(peer.pool.load('node'), { inFlight: 0, idle: 1, queued: 0 });
  });

  test('opens another connection when the streams of one are full, and waits when no more may be in flight', async () => {
    const held: http2.ServerHttp2Stream[] = [];
    await using peer = await dial(
      (stream) => void held.push(stream),
      { inFlightMax: 5, queueMax: 10 },
      { settings: { maxConcurrentStreams: 2 } },
    );
    const first = peer.send();
    await eventually(() => assert.equal(held.length, 1));
    const others = Array.from({ length: 6 }, () => peer.send());
    await eventually(() => assert.equal(held.length, 5));
    assert.equal(peer.sessions.length, 3);
    assert.deepEqual(peer.pool.load('node'), { inFlight: 5, idle: 0, queued: 2 });
    for (let i = 0; i < 7; i++) {
      await eventually(() => assert.ok(held[i] !== undefined));
      held[i]!.respond({ ':status': 200 }, { endStream: true });
    }
    for (const { done } of [first, ...others]) assert.equal((await done).status, 200);
  });

  test('that is given up resets its stream only', async () => {
    let code = 0;
    await using peer = await dial((stream, headers) => {
      if (headers[':path'] === '/ok') return stream.respond({ ':status': 200 }, { endStream: true });
      stream.on('close', () => {
        code = stream.rstCode;
      });
    });
    const recorder = peer.send();
    await eventually(() => assert.equal(peer.pool.load('node').inFlight, 1));
    recorder.exchange?.abort();
    await eventually(() => assert.equal(code, http2.constants.NGHTTP2_CANCEL));
    assert.equal((await peer.send({ target: '/ok' }).done).status, 200);
    assert.equal(peer.sessions.length, 1);
  });

  test('that is reset fails, and says with what', async () => {
    await using peer = await dial((stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR));
    const { error } = await peer.send().done;
    assert.equal(error?.code, 'upstream_failed');
    assert.match(error?.message ?? '', /INTERNAL_ERROR/);
  });

  test('whose response is cut off fails, whatever came before', async () => {
    await using peer = await dial((stream) => {
      stream.respond({ ':status': 200 });
      stream.write('half', () => stream.destroy(new Error('broken')));
    });
    const { status, error } = await peer.send().done;
    assert.deepEqual([status, error?.code], [200, 'upstream_failed']);
  });

  test('is sent again when the connection ends before it was looked at', async () => {
    let calls = 0;
    await using peer = await dial((stream) => {
      calls++;
      if (calls === 1) stream.session?.destroy();
      else stream.respond({ ':status': 200 }, { endStream: true });
    });
    assert.equal((await peer.send().done).status, 200);
    assert.equal(peer.sessions.length, 2);
  });

  test('is not sent again when it changes something', async () => {
    await using peer = await dial((stream) => stream.session?.destroy());
    const { error } = await peer.send({ method: 'POST', framing: 'length', contentLength: 0 }).done;
    assert.equal(error?.code, 'upstream_failed');
  });

  test('moves to another connection when the upstream is about to leave', async () => {
    await using peer = await dial((stream) => stream.respond({ ':status': 200 }, { endStream: true }));
    assert.equal((await peer.send().done).status, 200);
    peer.sessions[0]?.close();
    await eventually(() => assert.equal(peer.pool.load('node').idle, 0));
    assert.equal((await peer.send().done).status, 200);
    assert.equal(peer.sessions.length, 2);
  });

  test('goes on while its group is evicted; later ones take a new connection', async () => {
    let held: http2.ServerHttp2Stream | undefined;
    await using peer = await dial((stream, headers) => {
      if (headers[':path'] === '/slow') held = stream;
      else stream.respond({ ':status': 200 }, { endStream: true });
    });
    const slow = peer.send({ target: '/slow' });
    await eventually(() => assert.ok(held !== undefined));
    peer.pool.evict('node');
    assert.equal((await peer.send().done).status, 200);
    assert.equal(peer.pool.streams, 1);
    held?.respond({ ':status': 201 }, { endStream: true });
    assert.equal((await slow.done).status, 201);
    assert.equal(peer.pool.streams, 0);
    assert.equal(peer.sessions.length, 2);
  });
});

/** An upstream whose frames are made by hand. */
function scripted(script: (socket: Duplex, index: number) => void): {
  pool: UpstreamPool;
  upstream: Upstream;
  opened: Duplex[];
} {
  const opened: Duplex[] = [];
  const upstream: Upstream = {
    key: 'script',
    protocol: 'h2',
    async connect() {
      const [far, near] = lendingPair();
      far.on('error', () => {}).resume();
      opened.push(far);
      script(far, opened.length - 1);
      return near;
    },
  };
  return { pool: new UpstreamPool({ clock: systemClock }), upstream, opened };
}

const ok = block([':status', '200']);

describe('an upstream that breaks HTTP/2', () => {
  for (const [what, ...frames] of [
    ['answers with a body alone', frame('DATA', 1, 1, 'x')],
    ['ends without a head', frame('DATA', 1, 1)],
    ['has no status', frame('HEADERS', 5, 1, block(['x-a', 'b']))],
    ['has a status that is a number, and not three digits', frame('HEADERS', 5, 1, block([':status', '2e2']))],
    ['has a status above 599', frame('HEADERS', 5, 1, block([':status', '600']))],
    ['has two statuses', frame('HEADERS', 5, 1, block([':status', '200'], [':status', '200']))],
    ['has a field of requests', frame('HEADERS', 5, 1, block([':status', '200'], [':path', '/']))],
    ['switches protocols', frame('HEADERS', 4, 1, block([':status', '101']))],
    ['has a field of the connection', frame('HEADERS', 5, 1, block([':status', '200'], ['connection', 'x']))],
    [
      'sends more than it stated',
      frame('HEADERS', 4, 1, block([':status', '200'], ['content-length', '1'])),
      frame('DATA', 1, 1, 'xy'),
    ],
    [
      'sends less than it stated',
      frame('HEADERS', 4, 1, block([':status', '200'], ['content-length', '2'])),
      frame('DATA', 1, 1, 'x'),
    ],
    ['sends two heads', frame('HEADERS', 4, 1, ok), frame('HEADERS', 4, 1, ok)],
    ['pushes', frame('PUSH_PROMISE', 4, 1, Buffer.concat([uint32(2), ok]))],
    ['answers on a stream that nobody opened', frame('HEADERS', 5, 7, ok)],
    ['is no HTTP/2 at all', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ] as const) {
    test(`and ${what} fails the request, not the process`, async () => {
      const { pool, upstream } = scripted((socket) => {
        socket.write(settings());
        setImmediate(() => {
          for (const one of frames) socket.write(one);
        });
      });
      const recorder = new ClientRecorder();
      pool.request(upstream, outgoing('POST'), recorder);
      const { error } = await recorder.done;
      assert.ok(['upstream_malformed', 'upstream_failed'].includes(error?.code ?? ''), String(error));
      await pool[Symbol.asyncDispose]();
    });
  }

  test('and refuses a stream gets the request once more, also a POST', async () => {
    const { pool, upstream } = scripted((socket) => {
      socket.write(settings());
      socket.once('data', () => socket.write(frame('RST_STREAM', 0, 1, uint32(7))));
      setImmediate(() => setImmediate(() => setImmediate(() => socket.write(frame('HEADERS', 5, 3, ok)))));
    });
    const recorder = new ClientRecorder();
    pool.request(upstream, outgoing('POST'), recorder);
    assert.equal((await recorder.done).status, 200);
    await pool[Symbol.asyncDispose]();
  });

  test('and refuses a stream gets an empty body of unknown length once more, to its end', async () => {
    const seen: Buffer[] = [];
    const { pool, upstream } = scripted((socket) => {
      socket.write(settings());
      socket.on('data', (bytes: Buffer) => {
        if (seen.push(Buffer.from(bytes)) === 1) socket.write(frame('RST_STREAM', 0, 1, uint32(7)));
      });
    });
    const recorder = new ClientRecorder();
    pool.request(upstream, outgoing('POST', { framing: 'chunked' }), recorder);
    const ends = () =>
      framesOf(Buffer.concat(seen).subarray(24)).filter(({ stream, flags }) => stream === 3 && flags & 1);
    await eventually(() => assert.equal(ends().length, 1));
    await pool[Symbol.asyncDispose]();
    await recorder.done;
  });

  test('and leaves above its last stream gets those requests on another connection', async () => {
    const { pool, upstream, opened } = scripted((socket, index) => {
      socket.write(settings());
      if (index === 0)
        socket.once('data', () => socket.write(frame('GOAWAY', 0, 0, Buffer.concat([uint32(0), uint32(0)]))));
      else socket.once('data', () => socket.write(frame('HEADERS', 5, 1, ok)));
    });
    const recorder = new ClientRecorder();
    pool.request(upstream, outgoing('POST'), recorder);
    assert.equal((await recorder.done).status, 200);
    assert.equal(opened.length, 2);
    await pool[Symbol.asyncDispose]();
  });
});

test('a request that waits is refused after its time, however often others get their turn before', async () => {
  const clock = new FakeClock();
  const opened: Duplex[] = [];
  const connect = async () => {
    const [far, near] = lendingPair();
    far.on('error', () => {}).resume();
    far.write(settings([3, 1]));
    opened.push(far);
    return near;
  };
  const pool = new UpstreamPool({ clock, pool: { inFlightMax: 1, queueMs: 1_000 } });
  const upstream: Upstream = { key: 'slow', protocol: 'h2', connect };
  const send = () => {
    const recorder = new ClientRecorder();
    recorder.exchange = pool.request(upstream, outgoing('POST'), recorder);
    return recorder;
  };
  send();
  await clock.advance(1);
  const waiting = send();
  for (let i = 0; i < 12; i++) {
    opened[0]!.write(settings([3, 1]));
    for (let turns = 0; turns < 4; turns++) await turn();
    await clock.advance(100);
  }
  assert.equal((await waiting.done).error?.code, 'upstream_overloaded');
  await pool[Symbol.asyncDispose]();
});

test('a client begins with the preface, its settings and the request in one write', async () => {
  let received: Buffer = Buffer.alloc(0);
  const { pool, upstream } = scripted((socket) => {
    socket.on('data', (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
    });
  });
  pool.request(upstream, outgoing('GET'), new ClientRecorder());
  for (let i = 0; i < 4; i++) await turn();
  assert.equal(received.subarray(0, 24).toString(), preface);
  assert.deepEqual(
    framesOf(received.subarray(24)).map(({ type }) => type),
    ['SETTINGS', 'WINDOW_UPDATE', 'HEADERS'],
  );
  await pool[Symbol.asyncDispose]();
});
