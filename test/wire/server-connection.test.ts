import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { systemClock } from '#runtime/clock.ts';
import type { ExchangeOutcome, ServerExchange } from '#wire/exchange.ts';
import { respond } from '#wire/respond.ts';
import { serveConnection } from '#wire/server-connection.ts';
import { WireError } from '#wire/wire-error.ts';
import { everyByte, turn } from './support/memory-proxy.ts';
import { memoryServer } from './support/memory-server.ts';
import { readBody } from './support/read-body.ts';

const get = (path = '/', fields = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
const echoPath = (exchange: ServerExchange<unknown>) => respond(exchange, { status: 200, body: exchange.request.path });
const bodies = (answered: string) => [...answered.matchAll(/\r\n\r\n([^H]*)/g)].map((match) => match[1]);

test('pipelined requests are answered in order, although later ones could be answered first', async () => {
  const waiting: ServerExchange<unknown>[] = [];
  using server = memoryServer((exchange) => void waiting.push(exchange));
  await server.send(get('/1') + get('/2') + get('/3'));
  assert.equal(waiting.length, 1);
  for (let i = 0; i < 3; i++) {
    echoPath(waiting[i]!);
    await server.settle();
  }
  assert.deepEqual(bodies(server.answered), ['/1', '/2', '/3']);
});

test('requests that are sent ahead stop being read at the limit, and go on', async () => {
  const waiting: ServerExchange<unknown>[] = [];
  using server = memoryServer((exchange) => void waiting.push(exchange), { limits: { readAheadBytesMax: 1_000 } });
  const ahead = get('/x', `X-Fill: ${'f'.repeat(400)}\r\n`);
  const count = 1_000;
  for (let i = 0; i < count; i++) server.client.write(ahead);
  await server.settle();
  assert.equal(waiting.length, 1);
  assert.ok(server.client.writableLength > (count * ahead.length) / 2, 'the writer is held back');
  for (let i = 0; i < count; i++) {
    echoPath(waiting[i]!);
    await server.settle();
  }
  assert.equal(waiting.length, count);
  assert.equal(server.client.writableLength, 0);
});

test('Connection: close ends the connection after its response; nothing behind it is served', async () => {
  using server = memoryServer(echoPath);
  await server.send(get('/1') + get('/2', 'Connection: close\r\n') + get('/3'));
  assert.deepEqual(bodies(server.answered), ['/1', '/2']);
  assert.match(server.answered, /connection: close\r\n\r\n\/2$/);
  assert.equal(server.client.readableEnded, true);
});

test('HEAD, 204 and 304 have no body; a HEAD keeps its length', async () => {
  using server = memoryServer((exchange) => {
    const status = Number(exchange.request.path.slice(1)) || 200;
    respond(exchange, { status, body: 'hello' });
  });
  await server.send(`HEAD / HTTP/1.1\r\nHost: a\r\n\r\n${get('/204')}${get('/304')}${get('/200')}`);
  const heads = server.answered.split('\r\n\r\n');
  assert.match(heads[0]!, /^HTTP\/1.1 200 OK\r\n.*content-length: 5$/s);
  assert.doesNotMatch(heads[1]!, /content-length/);
  assert.match(heads[1]!, /^HTTP\/1.1 204 No Content\r\n/);
  assert.match(heads[2]!, /^HTTP\/1.1 304 Not Modified\r\n/);
  assert.equal(heads[4], 'hello');
});

test('100 Continue is sent when the handler reads the body, and not when it refuses', async () => {
  using server = memoryServer(async (exchange) => {
    if (exchange.request.path === '/no') return respond(exchange, { status: 403 });
    respond(exchange, { status: 200, body: (await readBody(exchange, 100)).toString() });
  });
  const post = (path: string) =>
    `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n`;
  await server.send(post('/yes'));
  assert.equal(server.answered, 'HTTP/1.1 100 Continue\r\n\r\n');
  await server.send('ab');
  assert.match(server.answered, /\r\n\r\nab$/);
  await server.send(post('/no'));
  assert.match(server.answered, /HTTP\/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n$/);
});

test('a body that comes without waiting needs no 100 Continue', async () => {
  using server = memoryServer(async (exchange) => {
    await turn();
    respond(exchange, { status: 200, body: (await readBody(exchange, 100)).toString() });
  });
  await server.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n${get('/')}`);
  assert.doesNotMatch(server.answered, /100 Continue/);
});

test('a small unread body is read away after the response; the next request is served', async () => {
  using server = memoryServer((exchange) => respond(exchange, { status: 200, body: exchange.request.method }));
  await server.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel');
  assert.match(server.answered, /POST$/);
  await server.send(`lo${get()}`);
  assert.match(server.answered, /GET$/);
});

test('an unread body above the limit closes the connection after the response', async () => {
  const limits = { drainBytesMax: 1_000 };
  using server = memoryServer((exchange) => respond(exchange, { status: 200, body: 'early' }), { limits });
  await server.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n');
  assert.match(server.answered, /connection: close\r\n\r\nearly$/);
  assert.equal(server.client.readableEnded, true);
  using chunkedServer = memoryServer((exchange) => respond(exchange, { status: 200, body: 'early' }), { limits });
  await chunkedServer.send(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`);
  await chunkedServer.send(`7d0\r\n${'x'.repeat(2_000)}`);
  assert.equal(chunkedServer.client.readableEnded, true);
});

test('a body that breaks after the response began ends the connection without completing the response', async () => {
  let outcome: ExchangeOutcome | undefined;
  using server = memoryServer((exchange) => {
    exchange.endListener = {
      onEnd(ended) {
        outcome = ended;
      },
    };
    exchange.respond({ status: 200, fields: '', framing: 'chunked', contentLength: -1 });
    exchange.write(Buffer.from('part'));
    exchange.readBody();
  });
  await server.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n');
  assert.doesNotMatch(server.answered, /0\r\n\r\n$/);
  assert.equal(server.connection.isClosed, true);
  assert.equal(outcome?.error?.rule, 'chunk_size');
});

test('drain: idle connections close, a request in flight is answered with Connection: close', async () => {
  using idle = memoryServer(echoPath);
  await idle.send(get('/1'));
  idle.connection.drain();
  await idle.settle();
  assert.equal(idle.client.readableEnded, true);

  const waiting: ServerExchange<unknown>[] = [];
  using busy = memoryServer((exchange) => void waiting.push(exchange));
  await busy.send(get('/1') + get('/2'));
  busy.connection.drain();
  await busy.settle();
  assert.equal(busy.client.readableEnded, false);
  echoPath(waiting[0]!);
  await busy.settle();
  assert.match(busy.answered, /connection: close\r\n\r\n\/1$/);
  assert.equal(waiting.length, 1);
  assert.equal(busy.client.readableEnded, true);
});

test('a handler that throws or rejects is answered with 500, and the connection goes on', async () => {
  using server = memoryServer((exchange) => {
    if (exchange.request.path === '/sync') throw new Error('sync');
    return Promise.reject(new Error('async'));
  });
  await server.send(get('/sync') + get('/async'));
  assert.equal(server.answered.match(/HTTP\/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n/g)?.length, 2);
  assert.equal(server.handlerErrors.length, 2);
});

test('a handler that fails in the midst of its response breaks it visibly', async () => {
  using server = memoryServer((exchange) => {
    exchange.respond({ status: 200, fields: '', framing: 'length', contentLength: 10 });
    exchange.write(Buffer.from('half'));
    throw new Error('later');
  });
  await server.send(get());
  assert.equal(server.connection.isClosed, true);
  assert.equal(server.handlerErrors.length, 1);
});

test('the client that closes while it waits is told to the listener, and the outcome says so', async () => {
  const aborted: string[] = [];
  let outcome: ExchangeOutcome | undefined;
  using server = memoryServer((exchange) => {
    exchange.endListener = {
      onEnd(ended) {
        outcome = ended;
      },
    };
    exchange.listen({
      onRequestData: () => true,
      onRequestEnd: () => {},
      onWritable: () => {},
      onAborted: (error) => aborted.push(error.code),
    });
  });
  await server.send(get());
  server.client.end();
  await server.settle();
  assert.deepEqual(aborted, ['exchange_aborted']);
  assert.equal(outcome?.status, 0);
  assert.equal(server.connection.isClosed, true);
  assert.equal(server.clock.pendingTimers, 0);
});

test('the body is read with back-pressure: a paused listener stops the client', async () => {
  let seen = 0;
  let exchange: ServerExchange<unknown> | undefined;
  using server = memoryServer((started) => {
    exchange = started;
    started.listen({
      onRequestData: (bytes) => {
        seen += bytes.length;
        return false;
      },
      onRequestEnd: () => respond(started, { status: 200, body: String(seen) }),
      onWritable: () => {},
      onAborted: () => {},
    });
    started.readBody();
  });
  const size = 1_000_000;
  await server.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
  for (let sent = 0; sent < size; sent += 10_000) server.client.write(Buffer.alloc(10_000));
  await server.settle();
  const atRest = seen;
  await server.settle();
  assert.equal(seen, atRest);
  assert.ok(server.client.writableLength > size / 2, 'most of it is still with the client');
  while (seen < size) {
    exchange!.resumeBody();
    await turn();
  }
  exchange!.resumeBody();
  await server.settle();
  assert.match(server.answered, new RegExp(`${size}$`));
});

test('a CONNECT becomes a tunnel whose inside is served by the same engine, with bytes sent ahead', async () => {
  const inside: string[] = [];
  const [client, socket] = duplexPair();
  let answered = '';
  client.on('data', (bytes: Buffer) => {
    answered += bytes.toString();
  });
  serveConnection(
    socket,
    'outside',
    (exchange) => {
      const { authority } = exchange.request;
      serveConnection(
        exchange.acceptTunnel(),
        authority,
        (inner) => {
          inside.push(`${inner.context} ${inner.request.path}`);
          respond(inner, { status: 200, body: inner.request.path });
        },
        { clock: systemClock },
      );
    },
    { clock: systemClock },
  );
  const bytes = `CONNECT messaging:80 HTTP/1.1\r\nHost: messaging:80\r\n\r\n${get('/a')}${get('/b')}`;
  client.write(bytes);
  for (let i = 0; i < 6; i++) await turn();
  client.write(get('/c'));
  for (let i = 0; i < 6; i++) await turn();
  assert.deepEqual(inside, ['messaging:80 /a', 'messaging:80 /b', 'messaging:80 /c']);
  assert.match(answered, /^HTTP\/1.1 200 Connection Established\r\n\r\nHTTP\/1.1 200 OK\r\n/);
  assert.match(answered, /\/c$/);
  client.destroy();
});

test('fields are found by name, by count and in order; copies leave out what they must', async () => {
  using server = memoryServer((exchange) => {
    const { request } = exchange;
    assert.equal(request.field('authorization'), 'Bearer x');
    assert.equal(request.field('cellmesh-token'), 'one');
    assert.equal(request.fieldCount('cellmesh-token'), 2);
    assert.equal(request.field('cellmesh-left'), undefined);
    assert.equal(request.find('accept'), 'a, b');
    assert.deepEqual([...request.entries()].slice(0, 2), [
      ['HOST', 'A.example:80'],
      ['Accept', 'a'],
    ]);
    assert.equal(request.authority, 'a.example:80');
    respond(exchange, {
      status: 200,
      body: request.linesExcept({ hasId: new Uint8Array(64), otherNames: new Set(['accept']) }),
    });
  });
  const fields = [
    'HOST: A.example:80',
    'Accept: a',
    'Connection: close, X-Hop',
    'Authorization: \t Bearer x \t',
    'ACCEPT: b',
    'Cellmesh-Token: one',
    'cellmesh-token: two',
    'x-hop: gone',
    'Keep-Alive: 5',
    'TE: trailers',
    'Upgrade: h2c',
    'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA',
    'X-Last: kept',
  ];
  for (const piece of everyByte(`GET / HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n`)) server.client.write(piece);
  await server.settle();
  const kept = [fields[3], fields[5], fields[6], fields[12]];
  assert.deepEqual(server.handlerErrors, []);
  assert.equal(server.answered.split('\r\n\r\n')[1], `${kept.join('\r\n')}\r\n`);
});

test('what a consumer throws anywhere costs its own exchange, never the process', async () => {
  const faults = new Map<string, (exchange: ServerExchange<unknown>) => void>([
    ['onRequestData', (exchange) => exchange.readBody()],
    ['onRequestEnd', (exchange) => exchange.readBody()],
    ['onAborted', () => {}],
  ]);
  for (const [name, begin] of faults) {
    using server = memoryServer((exchange) => {
      const thrown = () => {
        throw new Error(name);
      };
      const listener = { onRequestData: () => true, onRequestEnd: () => {}, onWritable: () => {}, onAborted: () => {} };
      exchange.listen({ ...listener, [name]: thrown });
      begin(exchange);
    });
    await server.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx');
    if (name === 'onAborted') server.client.destroy();
    else assert.match(server.answered, /^HTTP\/1.1 500 Internal Server Error\r\n/);
    await server.settle();
    assert.equal(server.handlerErrors.length, 1, name);
  }
  using server = memoryServer((exchange) => {
    exchange.endListener = {
      onEnd() {
        throw new Error('onEnd');
      },
    };
    echoPath(exchange);
  });
  await server.send(get('/1'));
  assert.match(server.answered, /\/1$/);
  assert.equal(server.handlerErrors.length, 1);
});

test('drain while a body is read away closes the connection afterwards', async () => {
  using server = memoryServer(echoPath);
  await server.send('POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel');
  server.connection.drain();
  await server.send(`lo${get('/2')}`);
  assert.deepEqual(bodies(server.answered), ['/1']);
  assert.equal(server.client.readableEnded, true);
});

test('a slow reader gets the whole last response', async () => {
  using server = memoryServer((exchange) => respond(exchange, { status: 200, body: Buffer.alloc(1_000_000, 'z') }));
  server.client.pause();
  await server.send(get('/', 'Connection: close\r\n'));
  await server.clock.advance(10_000);
  assert.equal(server.connection.isClosed, false);
  server.client.resume();
  for (let i = 0; i < 20; i++) await server.settle();
  assert.match(server.answered, /z{1000000}$/);
  assert.equal(server.client.readableEnded, true);
});

test('connections whose bytes alternate see their own requests only: the scan buffer is shared', async () => {
  const count = 5;
  const servers = Array.from({ length: count }, () =>
    memoryServer((exchange) => respond(exchange, { status: 200, body: [...exchange.request.entries()].join() })),
  );
  const sent = servers.map(
    (_, k) => `GET /${k} HTTP/1.1\r\nHost: h${k}\r\nAuthorization: ${`secret${k}`.repeat(k + 1)}\r\n\r\n`,
  );
  for (let at = 0; sent.some((text) => at < text.length); at += 3) {
    for (const [k, server] of servers.entries()) server.client.write(sent[k]!.slice(at, at + 3));
    await turn();
  }
  for (const [k, server] of servers.entries()) {
    await server.settle();
    assert.match(server.answered, new RegExp(`Host,h${k},Authorization,(secret${k}){${k + 1}}$`));
    server[Symbol.dispose]();
  }
});

test('readBody refuses a body above its bound, told ahead or found on the way, and the handler answers', async () => {
  using server = memoryServer(async (exchange) => {
    const body = await readBody(exchange, 3).catch((error: WireError) => error);
    respond(exchange, body instanceof WireError ? { status: body.status } : { status: 200, body });
  });
  const head = 'POST / HTTP/1.1\r\nHost: a\r\n';
  const chunked = `${head}Transfer-Encoding: chunked\r\n\r\n`;
  await server.send(`${head}Content-Length: 3\r\n\r\nabc${head}Content-Length: 4\r\n\r\nabcd`);
  await server.send(`${chunked}2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n0\r\n\r\n${chunked}1\r\nx\r\n0\r\n\r\n`);
  const statuses = [...server.answered.matchAll(/HTTP\/1.1 (\d+)/g)].map((match) => match[1]);
  assert.deepEqual(statuses, ['200', '413', '413', '200']);
});
