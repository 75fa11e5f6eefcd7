import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Deadline } from '#wire/deadline.ts';
import type { ServerExchange } from '#wire/exchange.ts';
import { respond } from '#wire/respond.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { memoryServer } from './support/memory-server.ts';
import { readBody } from './support/read-body.ts';

const timeouts = { headMs: 10_000, bodyIdleMs: 5_000, idleMs: 60_000, lingerMs: 2_000, writeStallMs: 7_000 };
const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const ok = (exchange: ServerExchange<unknown>) => respond(exchange, { status: 200, body: 'ok' });

test('a head that trickles in gets 408 ten seconds after its first byte, however steadily it comes', async () => {
  using server = memoryServer(ok, { timeouts });
  await server.send(get);
  await server.clock.advance(30_000);
  for (const character of 'GET /slow') {
    await server.send(character);
    await server.clock.advance(1_000);
  }
  assert.doesNotMatch(server.answered, /408/);
  await server.send('l');
  await server.clock.advance(1_000);
  assert.match(server.answered, /HTTP\/1.1 408 Request Timeout\r\n.*connection: close\r\n/s);
  assert.deepEqual(server.refused, ['head_timeout']);
  assert.equal(server.client.readableEnded, true);
});

test('a body that stops gets 408 after the idle time; each piece starts it anew', async () => {
  using server = memoryServer(
    async (exchange) => {
      const body = await readBody(exchange, 100).catch(() => undefined);
      if (body !== undefined) ok(exchange);
    },
    { timeouts },
  );
  await server.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n');
  for (const character of 'ab') {
    await server.clock.advance(4_999);
    await server.send(character);
  }
  assert.equal(server.answered, '');
  await server.clock.advance(5_000);
  assert.match(server.answered, /HTTP\/1.1 408 /);
});

test('an idle connection closes without a word, before and after requests', async () => {
  using fresh = memoryServer(ok, { timeouts });
  await fresh.clock.advance(59_999);
  assert.equal(fresh.client.readableEnded, false);
  await fresh.clock.advance(1);
  await fresh.settle();
  assert.equal(fresh.client.readableEnded, true);
  assert.equal(fresh.answered, '');

  using used = memoryServer(ok, { timeouts });
  await used.clock.advance(50_000);
  await used.send(get);
  await used.clock.advance(59_999);
  assert.equal(used.client.readableEnded, false);
  await used.clock.advance(1);
  await used.settle();
  assert.equal(used.client.readableEnded, true);
});

test('a handler may take its time: no time-out of the client runs meanwhile', async () => {
  let waiting: ServerExchange<unknown> | undefined;
  using server = memoryServer(
    (exchange) => {
      waiting = exchange;
    },
    { timeouts },
  );
  await server.send(get);
  await server.clock.advance(600_000);
  ok(waiting!);
  await server.settle();
  assert.match(server.answered, /ok$/);
});

test('a client that takes nothing of its response is cut off; one that takes some is not', async () => {
  using server = memoryServer(
    (exchange) => {
      exchange.respond({ status: 200, fields: '', framing: 'chunked', contentLength: -1 });
      for (let i = 0; i < 1_000; i++) exchange.write(Buffer.alloc(10_000));
    },
    { timeouts },
  );
  server.client.pause();
  await server.send(get);
  for (let i = 0; i < 3; i++) {
    for (let pieces = 0; pieces < 10; pieces++) server.client.read();
    await server.settle();
    await server.clock.advance(7_000);
    assert.equal(server.connection.isClosed, false, `taken ${i}`);
  }
  await server.clock.advance(14_000);
  await server.settle();
  assert.equal(server.connection.isClosed, true);
});

test('a client that does not close after the last response is cut off', async () => {
  using server = memoryServer(ok, { timeouts });
  await server.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  assert.equal(server.connection.isClosed, false);
  await server.clock.advance(2_000);
  await server.settle();
  assert.equal(server.connection.isClosed, true);
  assert.equal(server.clock.pendingTimers, 0);
});

test('moving a deadline later starts no timer; moving it earlier does', async () => {
  const clock = new FakeClock();
  const fired: number[] = [];
  const deadline = new Deadline(clock, () => fired.push(clock.monotonic()));
  deadline.set(1_000);
  for (let i = 0; i < 9; i++) {
    await clock.advance(100);
    deadline.set(1_000);
    assert.equal(clock.pendingTimers, 1);
  }
  await clock.advance(999);
  assert.deepEqual(fired, []);
  await clock.advance(1);
  assert.deepEqual(fired, [1_900]);
  deadline.set(1_000);
  deadline.set(10);
  await clock.advance(10);
  assert.deepEqual(fired, [1_900, 1_910]);
  deadline.set(10);
  deadline.clear();
  await clock.advance(1_000);
  assert.equal(fired.length, 2);
  deadline.set(Number.POSITIVE_INFINITY);
  assert.equal(clock.pendingTimers, 0);
});
