import assert from 'node:assert/strict';
import net from 'node:net';
import { test } from 'node:test';
import { systemClock } from '#runtime/clock.ts';
import type { ServerExchange } from '#wire/exchange.ts';
import { type HttpLimits, headBytesCeiling } from '#wire/limits.ts';
import { listenPlain } from '#wire/listen-plain.ts';
import { respond } from '#wire/respond.ts';
import { resolveLimits } from '#wire/server-connection.ts';
import { eventually } from '../support/eventually.ts';
import { memoryServer } from './support/memory-server.ts';
import { readBody } from './support/read-body.ts';

async function answerWithSize(exchange: ServerExchange<unknown>): Promise<void> {
  try {
    const body = await readBody(exchange, 100_000);
    respond(exchange, { status: 200, body: String(body.length) });
  } catch {
    // The engine has answered: the client failed.
  }
}

async function statusOf(bytes: string, limits: Partial<HttpLimits> = {}): Promise<number> {
  using server = memoryServer(answerWithSize, { limits });
  await server.send(bytes);
  return Number(/^HTTP\/1.1 (\d+)/.exec(server.answered)?.[1]);
}

const requestLine = (length: number) =>
  `GET /${'a'.repeat(length - 'GET / HTTP/1.1'.length)} HTTP/1.1\r\nHost: a\r\n\r\n`;
const fieldLine = (length: number) => `GET / HTTP/1.1\r\nHost: a\r\nX: ${'b'.repeat(length - 3)}\r\n\r\n`;
const fields = (count: number) => `GET / HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(count - 1)}\r\n`;
const headOf = (length: number) => {
  const start = 'GET / HTTP/1.1\r\nHost: a\r\n';
  const line = `X: ${'c'.repeat(995)}\r\n`;
  const full = Math.floor((length - start.length - 2 - 5) / line.length);
  const rest = length - start.length - full * line.length - 2 - 5;
  return `${start}${line.repeat(full)}Y: ${'d'.repeat(rest)}\r\n\r\n`;
};
const chunked = (body: string) => `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;

test('a request line of 8 KiB passes, one byte more is 414', async () => {
  assert.equal(await statusOf(requestLine(8192)), 200);
  assert.equal(await statusOf(requestLine(8193)), 414);
  assert.equal(await statusOf(`GET /${'a'.repeat(9_000)}`), 414);
});

test('a field line of 8 KiB passes, one byte more is 431', async () => {
  assert.equal(await statusOf(fieldLine(8192)), 200);
  assert.equal(await statusOf(fieldLine(8193)), 431);
  assert.equal(await statusOf(`GET / HTTP/1.1\r\n${'n'.repeat(9_000)}`), 431);
});

test('128 fields pass, one more is 431', async () => {
  assert.equal(await statusOf(fields(128)), 200);
  assert.equal(await statusOf(fields(129)), 431);
});

test('a head of 32 KiB passes, one byte more is 431', async () => {
  assert.equal(headOf(32_768).length, 32_768);
  assert.equal(await statusOf(headOf(32_768)), 200);
  assert.equal(await statusOf(headOf(32_769)), 431);
  assert.equal(await statusOf(headOf(40_000).slice(0, -4)), 431);
});

test('a method of 24 bytes passes, one byte more is 400', async () => {
  assert.equal(await statusOf(`${'M'.repeat(24)} / HTTP/1.1\r\nHost: a\r\n\r\n`), 200);
  assert.equal(await statusOf(`${'M'.repeat(25)} / HTTP/1.1\r\nHost: a\r\n\r\n`), 400);
});

test('a body at its limit passes, one byte more is 413, by length and by chunks', async () => {
  const limits = { bodyBytesMax: 10 };
  const length = (count: number) =>
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${count}\r\n\r\n${'x'.repeat(count)}`;
  assert.equal(await statusOf(length(10), limits), 200);
  assert.equal(await statusOf(length(11), limits), 413);
  assert.equal(await statusOf(chunked('5\r\nxxxxx\r\n5\r\nxxxxx\r\n0\r\n\r\n'), limits), 200);
  assert.equal(await statusOf(chunked('5\r\nxxxxx\r\n6\r\nxxxxxx\r\n0\r\n\r\n'), limits), 413);
});

test('trailers at their limit pass, one byte more is 431', async () => {
  const limits = { trailerBytesMax: 100 };
  const trailers = (length: number) => chunked(`0\r\nX: ${'y'.repeat(length - 7)}\r\n\r\n`);
  assert.equal(await statusOf(trailers(100), limits), 200);
  assert.equal(await statusOf(trailers(101), limits), 431);
});

test('a chunk extension of 256 bytes passes, one byte more is 400; so are many that add up', async () => {
  const extended = (length: number) => `1;${'e'.repeat(length)}\r\nx\r\n`;
  assert.equal(await statusOf(chunked(`${extended(256)}0\r\n\r\n`)), 200);
  assert.equal(await statusOf(chunked(`${extended(257)}0\r\n\r\n`)), 400);
  assert.equal(await statusOf(chunked(`${extended(256).repeat(64)}0\r\n\r\n`)), 200);
  assert.equal(await statusOf(chunked(`${extended(256).repeat(64)}${extended(1)}0\r\n\r\n`)), 400);
});

test('a chunk size of 13 digits is read, 14 are refused', async () => {
  assert.equal(await statusOf(chunked('0000000000001\r\nx\r\n0\r\n\r\n')), 200);
  assert.equal(await statusOf(chunked('00000000000001\r\nx\r\n0\r\n\r\n')), 400);
});

test('limits above the scan buffer are a mistake of the programmer', () => {
  assert.equal(resolveLimits({ headBytesMax: headBytesCeiling }).headBytesMax, headBytesCeiling);
  assert.throws(() => resolveLimits({ headBytesMax: headBytesCeiling + 1 }), RangeError);
});

test('a listener keeps its number of connections and closes one more; it takes the next when one has gone', async () => {
  let refused = 0;
  await using listener = await listenPlain((exchange) => respond(exchange, { status: 200 }), {
    host: '127.0.0.1',
    port: 0,
    clock: systemClock,
    contextOf: () => undefined,
    connectionsMax: 3,
    onConnectionRefused: () => refused++,
  });
  const open = () => net.connect(listener.address.port, '127.0.0.1').on('error', () => {});
  const sockets = [open(), open(), open()];
  await eventually(() => assert.equal(listener.connections, 3));
  const fourth = open();
  await new Promise((resolve) => fourth.once('close', resolve));
  assert.equal(refused, 1);
  sockets[0]!.destroy();
  await eventually(() => assert.equal(listener.connections, 2));
  sockets.push(open());
  await eventually(() => assert.equal(listener.connections, 3));
  assert.equal(refused, 1);
  for (const socket of sockets) socket.destroy();
});

test('a taken port is one clear error', async () => {
  const options = { host: '127.0.0.1', clock: systemClock, contextOf: () => undefined };
  await using listener = await listenPlain(() => {}, { ...options, port: 0 });
  await assert.rejects(
    listenPlain(() => {}, { ...options, port: listener.address.port }),
    { code: 'port_taken' },
  );
});
