import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { grpcBackend } from '../../bench/grpc-backend.ts';
import { GrpcConnection } from '../../bench/grpc-load.ts';
import { grpcMessage, messageBytes } from '../../bench/raw-http2.ts';

const path = '/bench.Bench/Call';
const bytes = (value: Buffer): Buffer => value;
const answer = Buffer.alloc(messageBytes, 'x');

/** A message that asks for `count` messages. */
function asking(count: number): Buffer {
  const message = Buffer.alloc(messageBytes, 'y');
  message[0] = count;
  return message;
}

describe('the backend of gRPC, to a client that nobody here wrote', () => {
  const server = grpcBackend();
  let client: Client;

  before(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    client = new Client(`127.0.0.1:${(server.address() as AddressInfo).port}`, credentials.createInsecure());
  });

  after(() => {
    client?.close();
    server.close();
  });

  test('answers one call after the other, by indices after the first', async () => {
    for (let call = 0; call < 3; call++) {
      const value = await new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, bytes, bytes, asking(1), (error, value) =>
          error ? reject(error) : resolve(value),
        );
      });
      assert.deepEqual(value, answer);
    }
  });

  test('sends as many messages as it is asked for', async () => {
    const stream = client.makeServerStreamRequest(path, bytes, bytes, asking(100), new Metadata());
    const messages = await stream.toArray();
    assert.equal(messages.length, 100);
    assert.deepEqual(messages.at(-1), answer);
  });
});

describe('the load generator of gRPC, at a server that nobody here wrote', () => {
  /** Makes `calls` calls, `streams` at once, of a server that answers with `respond`. */
  async function load(
    respond: (stream: ServerHttp2Stream) => void,
    { calls, streams }: Record<'calls' | 'streams', number>,
  ) {
    const heads: IncomingHttpHeaders[] = [];
    const server = createServer();
    server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      heads.push(headers);
      stream.resume().on('end', () => respond(stream));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const connection = new GrpcConnection({
      port,
      host: 'backend',
      path,
      method: 'POST',
      bodyBytes: 0,
      fields: { 'x-long': 'z'.repeat(300) },
      grpc: { streams, messages: 2 },
      connections: 1,
      durationMs: 0,
    });
    const outcomes: (string | undefined)[] = [];
    await connection.run(
      () => outcomes.length > calls - streams,
      (_, failure) => outcomes.push(failure),
    );
    connection.close();
    await new Promise((resolve) => server.close(resolve));
    return { heads, outcomes };
  }

  test('sends whole heads, the first one and those by index, and counts answers', async () => {
    const { heads, outcomes } = await load(
      (stream) => {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.write(grpcMessage(answer));
        stream.end(grpcMessage(answer));
      },
      { calls: 20, streams: 4 },
    );
    assert.deepEqual(outcomes, Array(20).fill(undefined));
    for (const head of heads) {
      assert.deepEqual(Object.fromEntries(Object.entries(head)), {
        ':method': 'POST',
        ':scheme': 'http',
        ':path': path,
        ':authority': 'backend',
        'content-type': 'application/grpc',
        te: 'trailers',
        'x-long': 'z'.repeat(300),
      });
    }
  });

  test('takes a refusal for none', async () => {
    const refused = { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '7' };
    const { outcomes } = await load((stream) => stream.respond(refused, { endStream: true }), { calls: 4, streams: 4 });
    assert.match(outcomes[0]!, /a call without its answer/);
  });

  test('takes a reset for none', async () => {
    const { outcomes } = await load((stream) => stream.close(8), { calls: 4, streams: 4 });
    assert.match(outcomes[0]!, /a call without its answer/);
  });
});
