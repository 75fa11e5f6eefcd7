import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import { connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { Pool } from 'undici';
import { WebSocket } from 'ws';
import { callHttp } from '../support/application.ts';
import type { LoadPair } from '../support/load-pair.ts';
import { MeshClient } from '../support/mesh-client.ts';
import { type Applications, grpcMethods } from './applications.ts';

/** One kind of what goes through the sidecars. */
export interface Work {
  readonly name: string;
  /** Of it at a time. */
  readonly concurrency: number;
  /** Throws when anything came out otherwise than it should. */
  readonly once: () => Promise<void>;
}

export interface Workload extends AsyncDisposable {
  readonly works: readonly Work[];
}

const self = { 'cellmesh-as': 'self' };
const sizes = [0, 100, 8 * 1024, 64 * 1024, 1024 * 1024];
/** Long enough to be verified once and found in memory after, short enough that what is remembered comes to rest within a minute. */
const tokenLifeMs = 30_000;

/** Clients of everything that a sidecar carries, with connections of their own; disposing it closes them. */
export function startWorkload(pair: LoadPair, applications: Applications): Workload {
  const stack = new AsyncDisposableStack();
  const works = [
    ...http1(pair.caller.outbound, stack),
    ...http2Calls(pair.caller.outbound, stack),
    ...grpc(pair.caller.outbound, applications.grpcPort, stack),
    ...tunnels(pair.caller.outbound, applications.tcpPort),
    ...denials(pair.caller.outbound),
    ...aborts(pair.caller.outbound),
    customers(pair, applications.callerPort, stack),
  ];
  return { works, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

function http1(port: number, stack: AsyncDisposableStack): Work[] {
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: 8, pipelining: 1 });
  stack.defer(() => pool.close());
  const headers = { host: 'callee', ...self };
  const nextSize = inTurn(sizes);
  return [
    {
      name: 'GET',
      concurrency: 4,
      async once() {
        const size = nextSize();
        const answer = await pool.request({ method: 'GET', path: `/bytes/${size}`, headers });
        assert.equal((await answer.body.arrayBuffer()).byteLength, size);
        assert.equal(answer.statusCode, 200);
      },
    },
    ...(['length', 'chunks'] as const).map((framing) => ({
      name: `POST with ${framing}`,
      concurrency: 2,
      async once() {
        const sent = randomBytes(nextSize());
        const body = framing === 'length' ? sent : Readable.from(pieces(sent));
        const answer = await pool.request({ method: 'POST', path: '/echo', headers, body });
        const received = Buffer.from(await answer.body.arrayBuffer());
        assert.equal(answer.statusCode, 200);
        assert.ok(received.equals(sent), `${received.length} bytes for ${sent.length}`);
      },
    })),
    {
      name: 'GET on a new connection',
      concurrency: 2,
      async once() {
        const { status: got, body } = await callHttp({ port, authority: 'callee', path: '/bytes/100', headers: self });
        assert.deepEqual([got, body.length], [200, 100]);
      },
    },
  ];
}

function http2Calls(port: number, stack: AsyncDisposableStack): Work[] {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  stack.defer(() => session.destroy());
  const nextSize = inTurn(sizes);
  return [
    {
      name: 'HTTP/2 with prior knowledge',
      concurrency: 4,
      async once() {
        const sent = randomBytes(nextSize());
        const head = { ':method': 'POST', ':path': '/echo', ':authority': 'callee', ...self };
        const stream = session.request(head);
        stream.end(sent);
        const [[response], received] = await Promise.all([once(stream, 'response'), buffer(stream)]);
        assert.equal(response[':status'], 200);
        assert.ok(received.equals(sent));
      },
    },
  ];
}

function grpc(port: number, grpcPort: number, stack: AsyncDisposableStack): Work[] {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.default_authority': `callee:${grpcPort}`,
  });
  stack.defer(() => client.close());
  const bytes = (value: Buffer): Buffer => value;
  const metadata = new Metadata();
  metadata.set('cellmesh-as', 'self');
  const unary = (sent: Buffer, deadlineMs: number) =>
    new Promise<Buffer>((resolve, reject) => {
      const options = { deadline: performance.timeOrigin + performance.now() + deadlineMs };
      const done = (error: ServiceError | null, value?: Buffer) => (error === null ? resolve(value!) : reject(error));
      client.makeUnaryRequest(grpcMethods.unary.path, bytes, bytes, sent, metadata, options, done);
    });
  return [
    {
      name: 'gRPC unary',
      concurrency: 4,
      async once() {
        const sent = randomBytes(1_000);
        assert.ok((await unary(sent, 10_000)).equals(sent));
      },
    },
    {
      name: 'gRPC stream',
      concurrency: 2,
      async once() {
        const duplex = client.makeBidiStreamRequest(grpcMethods.stream.path, bytes, bytes, metadata);
        const received: Buffer[] = [];
        const sent = Array.from({ length: 50 }, () => randomBytes(500));
        for (const message of sent) duplex.write(message);
        duplex.end();
        for await (const message of duplex) received.push(message as Buffer);
        assert.ok(Buffer.concat(received).equals(Buffer.concat(sent)));
      },
    },
    {
      name: 'gRPC deadline (on purpose)',
      concurrency: 1,
      async once() {
        await assert.rejects(unary(Buffer.from('wait'), 200), { code: status.DEADLINE_EXCEEDED });
      },
    },
  ];
}

function tunnels(port: number, tcpPort: number): Work[] {
  return [
    {
      name: 'WebSocket',
      concurrency: 2,
      async once() {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/socket`, { headers: { host: 'callee', ...self } });
        await once(socket, 'open');
        for (let i = 0; i < 20; i++) {
          const sent = randomBytes(i * 200);
          socket.send(sent);
          const [received] = await once(socket, 'message');
          assert.ok(sent.equals(received as Buffer));
        }
        socket.close(1000);
        assert.equal((await once(socket, 'close'))[0], 1000);
      },
    },
    {
      name: 'opaque TCP',
      concurrency: 2,
      async once() {
        const socket = await openTunnel(port, `callee:${tcpPort}`);
        const sent = randomBytes(300_000);
        socket.end(sent);
        assert.ok((await buffer(socket)).equals(sent));
      },
    },
  ];
}

async function openTunnel(port: number, authority: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const [head] = await once(socket, 'data');
  assert.match(String(head), /^HTTP\/1\.1 200 .*\r\n\r\n$/s);
  return socket;
}

function denials(port: number): Work[] {
  const refused = (name: string, authority: string, path: string, reason: string): Work => ({
    name,
    concurrency: 1,
    async once() {
      const answer = await callHttp({ port, authority, path, headers: self });
      assert.deepEqual([answer.status, JSON.parse(answer.body).reason], [403, reason]);
    },
  });
  return [
    refused('denied by the callee', 'callee', '/secret', 'route_not_allowed'),
    refused('denied by the caller', 'elsewhere', '/', 'not_declared'),
  ];
}

/** Every phase in which one of the ends can be gone. */
function aborts(port: number): Work[] {
  const head = (rest: string) => `${rest}\r\nHost: callee\r\ncellmesh-as: self\r\n`;
  const leaves = (name: string, said: string, whenHeard: RegExp | undefined): Work => ({
    name: `${name} (on purpose)`,
    concurrency: 1,
    async once() {
      const socket = connect(port, '127.0.0.1');
      await new Promise<void>((resolve, reject) => socket.write(said, (error) => (error ? reject(error) : resolve())));
      let heard = '';
      if (whenHeard !== undefined) {
        while (!whenHeard.test(heard)) heard += String((await once(socket, 'data'))[0]);
      }
      socket.resetAndDestroy();
    },
  });
  return [
    leaves('client leaves in its head', 'GET /bytes/1 HTTP/1.1\r\nHost: cal', undefined),
    leaves('client leaves in its body', `${head('POST /echo HTTP/1.1')}Content-Length: 100\r\n\r\nfirst`, /first$/),
    leaves('client leaves without an answer', `${head('GET /never HTTP/1.1')}\r\n`, undefined),
    leaves('client leaves in the response', `${head('GET /bytes/4000000 HTTP/1.1')}\r\n`, /xxx/),
    {
      name: 'application leaves in its response (on purpose)',
      concurrency: 1,
      async once() {
        const call = callHttp({ port, authority: 'callee', path: '/half', headers: self });
        await assert.rejects(call, /aborted|ECONNRESET|socket hang up/);
      },
    },
    {
      name: 'WebSocket breaks off (on purpose)',
      concurrency: 1,
      async once() {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/socket`, { headers: { host: 'callee', ...self } });
        await once(socket, 'open');
        socket.send('x');
        socket.terminate();
        await once(socket, 'close');
      },
    },
  ];
}

/** Customers' requests: a token in, a handle to the application, and with it a call to the next service. */
function customers({ router, caller, mint }: LoadPair, callerPort: number, stack: AsyncDisposableStack): Work {
  const client = stack.use(new MeshClient({ identity: router, expect: caller.id, port: () => caller.inbound }));
  let token: { readonly text: string; readonly madeAt: number } | undefined;
  return {
    name: "customer's request with a token",
    concurrency: 4,
    async once() {
      const now = performance.timeOrigin + performance.now();
      // Two in the life of each: some requests find a token that is known, some one that is new.
      if (token === undefined || now - token.madeAt > tokenLifeMs / 2) {
        token = { text: await mint({ expiresAt: Math.ceil(now) + tokenLifeMs }), madeAt: now };
      }
      const headers = { host: `caller:${callerPort}`, 'cellmesh-token': token.text };
      const { status: got, body } = await client.call({ method: 'GET', path: '/start/here', headers });
      assert.deepEqual([got, body.length], [200, 100], body.slice(0, 200));
    },
  };
}

function inTurn<T>(values: readonly T[]): () => T {
  let next = 0;
  return () => values[next++ % values.length]!;
}

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
}
