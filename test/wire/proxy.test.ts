import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http, { type ServerResponse } from 'node:http';
import net from 'node:net';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Agent, request } from 'undici';
import { eventually } from '../support/eventually.ts';
import { startNodeBackend } from './support/node-backend.ts';
import { startReverseProxy } from './support/reverse-proxy.ts';

const echo: http.RequestListener = (incoming, response) => {
  const hash = createHash('sha256');
  incoming.on('data', (bytes) => hash.update(bytes));
  incoming.on('end', () => {
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({
        method: incoming.method,
        url: incoming.url,
        headers: incoming.headers,
        trailers: incoming.trailers,
        sha256: hash.digest('hex'),
      }),
    );
  });
};

test('a request of node:http passes, without what the proxy strips and with what it adds', async () => {
  await using backend = await startNodeBackend(echo);
  await using proxy = await startReverseProxy({ backendPort: backend.port });
  const agent = new http.Agent({ keepAlive: true });
  for (let round = 0; round < 3; round++) {
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      const headers = {
        'X-Own': 'kept',
        'cellmesh-caller': 'forged',
        cellmesh_caller: 'forged',
        'Cellmesh-New': 'forged',
      };
      http.get({ port: proxy.port, path: '/a?b=c', headers, agent }, resolve).on('error', reject);
    });
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const seen = JSON.parse(Buffer.concat(chunks).toString());
    assert.equal(response.statusCode, 200);
    assert.equal(response.headers.via, '1.1 cellmesh');
    assert.equal(seen.url, '/a?b=c');
    assert.equal(seen.headers['x-own'], 'kept');
    assert.equal(seen.headers['cellmesh-caller'], 'spiffe://cell-1.cellmesh.localhost/ns/messaging/sa/api');
    assert.equal(seen.headers['cellmesh_caller'], undefined);
    assert.equal(seen.headers['cellmesh-new'], undefined);
  }
  assert.deepEqual(proxy.pool.load(`127.0.0.1:${backend.port}`), { inFlight: 0, idle: 1, queued: 0 });
  assert.equal(proxy.outcomes.length, 3);
  assert.equal(proxy.outcomes[0]?.error, undefined);
  agent.destroy();
});

test('bodies pass unchanged, with a length and chunked, from undici', async () => {
  await using backend = await startNodeBackend(echo);
  await using proxy = await startReverseProxy({ backendPort: backend.port });
  const dispatcher = new Agent();
  for (const size of [0, 1, 100, 5_000, 70_000, 1_000_000]) {
    const body = randomBytes(size);
    const sha256 = createHash('sha256').update(body).digest('hex');
    async function* pieces() {
      for (let at = 0; at < body.length; at += 9_999) yield body.subarray(at, at + 9_999);
    }
    for (const sent of [body, pieces()]) {
      const { statusCode, body: answer } = await request(`http://127.0.0.1:${proxy.port}/up`, {
        method: 'POST',
        body: sent as Buffer,
        dispatcher,
      });
      assert.equal(statusCode, 200);
      assert.equal(((await answer.json()) as { sha256: string }).sha256, sha256);
    }
  }
  await dispatcher.close();
});

test('curl gets HEAD, 204, chunked and large responses through the proxy', async () => {
  await using backend = await startNodeBackend((incoming, response) => {
    if (incoming.url === '/empty') response.writeHead(204).end();
    else if (incoming.url === '/large') response.end(Buffer.alloc(3_000_000, 'x'));
    else if (incoming.url === '/chunked') {
      response.writeHead(200, { trailer: 'x-sum' });
      response.write('one ');
      response.write('two');
      response.addTrailers({ 'x-sum': '7' });
      response.end();
    } else response.writeHead(200, { 'content-length': 5 }).end('hello');
  });
  await using proxy = await startReverseProxy({ backendPort: backend.port });
  const base = `http://127.0.0.1:${proxy.port}`;
  assert.match(await curl('-I', `${base}/`), /^HTTP\/1.1 200 OK\r\n.*content-length: 5\r\n/s);
  assert.match(await curl('-i', `${base}/empty`), /^HTTP\/1.1 204 No Content\r\n/);
  assert.equal((await curl(`${base}/large`)).length, 3_000_000);
  assert.match(await curl('-i', '--raw', `${base}/chunked`), /0\r\nx-sum: 7\r\n\r\n$/);
  assert.equal(await curl(`${base}/a`, `${base}/b`, `${base}/c`), 'hellohellohello');
});

test('curl with Expect: 100-continue is told to go on by the backend', async () => {
  await using backend = await startNodeBackend(echo);
  await using proxy = await startReverseProxy({ backendPort: backend.port });
  const url = `http://127.0.0.1:${proxy.port}/`;
  const answer = await curl('-i', '-H', 'Expect: 100-continue', '--expect100-timeout', '20', '-d', 'a body', url);
  assert.match(answer, /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK\r\n/);
});

async function curl(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('curl', ['-sS', '--max-time', '30', ...args], { maxBuffer: 10_000_000 });
  return stdout;
}

test('closing the listener lets a request in flight end, and ends idle connections', async () => {
  const waiting: ServerResponse[] = [];
  await using backend = await startNodeBackend((_incoming, response) => void waiting.push(response));
  await using proxy = await startReverseProxy({ backendPort: backend.port });
  const answer = curl('-i', `http://127.0.0.1:${proxy.port}/`);
  await eventually(() => assert.equal(waiting.length, 1));
  const closed = proxy.listener.close(10_000);
  waiting[0]!.end('done');
  assert.match(await answer, /connection: close\r\n\r\ndone$/);
  await closed;
  assert.equal(proxy.listener.connections, 0);
});

test('a client that resets its connection in the midst of a response harms nobody else', async () => {
  await using backend = await startNodeBackend((incoming, response) => {
    if (incoming.url === '/large') response.end(Buffer.alloc(20_000_000));
    else response.end('ok');
  });
  await using proxy = await startReverseProxy({ backendPort: backend.port });
  const resets = Array.from({ length: 10 }, async () => {
    const socket = net.connect(proxy.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET /large HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(socket, 'data');
    socket.resetAndDestroy();
  });
  await Promise.all(resets);
  await eventually(() => assert.equal(proxy.outcomes.length, 10));
  for (const { status, error } of proxy.outcomes) assert.deepEqual([status, error?.code], [200, 'exchange_aborted']);
  await eventually(() => assert.equal(proxy.pool.load(`127.0.0.1:${backend.port}`).inFlight, 0));
  assert.equal(await curl(`http://127.0.0.1:${proxy.port}/`), 'ok');
});

test('a backend that closes idle connections after one second costs no request', { timeout: 20_000 }, async () => {
  await using backend = await startNodeBackend((_incoming, response) => response.end('ok'));
  backend.server.keepAliveTimeout = 1_000;
  await using proxy = await startReverseProxy({ backendPort: backend.port });
  const dispatcher = new Agent();
  for (const pauseMs of [0, 990, 1_000, 1_010]) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    const { statusCode, body } = await request(`http://127.0.0.1:${proxy.port}/`, { method: 'POST', dispatcher });
    assert.equal(statusCode, 200);
    await body.dump();
  }
  await dispatcher.close();
});
