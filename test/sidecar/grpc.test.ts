import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import {
  Client,
  credentials,
  type Metadata as GrpcMetadata,
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { eventually } from '../support/eventually.ts';
import { type PortMesh, startPortMesh } from '../support/port-mesh.ts';
import type { Mesh } from '../support/start-mesh.ts';
import { pushThousandTimes } from '../support/thousand-pushes.ts';

const bytes = (value: Buffer): Buffer => value;
const method = (name: string, isStreaming: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream: isStreaming,
  responseStream: isStreaming,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
});
const unary = method('Unary', false);
const stream = method('Stream', true);

let server: Server;
let started: PortMesh;
let mesh: Mesh;
let client: Client;
let seen: GrpcMetadata | undefined;
let cancelled = 0;

/** An application that serves gRPC with Google's own library, behind two sidecars; the client is the same library. */
before(async () => {
  server = new Server({ 'grpc.max_receive_message_length': -1 });
  server.addService(
    { unary, stream },
    {
      unary(
        call: ServerUnaryCall<Buffer, Buffer>,
        done: (error: Partial<ServiceError> | null, value?: Buffer, trailer?: GrpcMetadata) => void,
      ) {
        seen = call.metadata;
        const text = call.request.toString();
        const trailer = new Metadata();
        trailer.set('x-trailer', 'at the end');
        if (text === 'wait') call.on('cancelled', () => cancelled++);
        if (text === 'fail') done({ code: status.NOT_FOUND, details: 'no such % thing', metadata: trailer });
        else if (text !== 'wait') done(null, call.request, trailer);
      },
      stream(call: NodeJS.ReadWriteStream) {
        call.on('data', (value: Buffer) => call.write(value));
        call.on('end', () => call.end());
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error);
      else resolve(bound);
    });
  });
  const from = 'from: [messaging/api], account: none';
  started = await startPortMesh(
    port,
    [
      `{ name: echo, ${from}, http: { methods: [POST], paths: [${unary.path}, ${stream.path}] } }`,
      `{ name: bill-echo, ${from}, http: { methods: [POST], paths: [/test.Echo/Bill] }, scopes: [billing:write] }`,
    ],
    'grpc',
  );
  const { mesh: running, listenPort } = started;
  mesh = running;
  client = new Client(`127.0.0.1:${listenPort}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
  });
});

after(async () => {
  client?.close();
  server?.forceShutdown();
  await started?.[Symbol.asyncDispose]();
});

function self(fields: Record<string, string> = {}): Metadata {
  const metadata = new Metadata();
  metadata.set('cellmesh-as', 'self');
  for (const [name, value] of Object.entries(fields)) metadata.set(name, value);
  return metadata;
}

interface Answer {
  readonly value?: Buffer | undefined;
  readonly error?: ServiceError | undefined;
}

function call(
  text: string | Buffer,
  options: { path?: string; metadata?: Metadata; deadlineMs?: number } = {},
): Promise<Answer> {
  const { path = unary.path, metadata = self(), deadlineMs = 10_000 } = options;
  return new Promise((resolve) => {
    const deadline = new Date(performance.timeOrigin + performance.now() + deadlineMs);
    client.makeUnaryRequest(path, bytes, bytes, Buffer.from(text), metadata, { deadline }, (error, value) => {
      resolve({ value, error: error ?? undefined });
    });
  });
}

describe('gRPC through two sidecars', () => {
  test('a unary call arrives with its metadata and what the sidecar says of the caller', async () => {
    const { value } = await call('hello', { metadata: self({ 'x-id': '7' }) });
    assert.equal(value?.toString(), 'hello');
    assert.deepEqual(seen?.get('x-id'), ['7']);
    assert.deepEqual(seen?.get('cellmesh-caller'), [mesh.services.api.id]);
    assert.deepEqual(seen?.get('cellmesh-as'), []);
    const record = mesh.services.messaging.records.at(-1);
    assert.deepEqual(
      [record?.outcome, record?.rule, record?.path, record?.method],
      ['permit', 'echo', unary.path, 'POST'],
    );
  });

  test('an error of the application keeps its code, its text and its trailers', async () => {
    const { error } = await call('fail');
    assert.deepEqual([error?.code, error?.details], [status.NOT_FOUND, 'no such % thing']);
    assert.deepEqual(error?.metadata.get('x-trailer'), ['at the end']);
  });

  test('four megabytes come back as they were', async () => {
    const sent = Buffer.alloc(4_000_000, 'abcdefg');
    assert.ok((await call(sent)).value?.equals(sent));
  });

  test('a stream carries a thousand messages both ways, in order', async () => {
    const duplex = client.makeBidiStreamRequest(stream.path, bytes, bytes, self());
    const received: string[] = [];
    for (let i = 0; i < 1_000; i++) duplex.write(Buffer.from(`message ${i}`));
    duplex.end();
    for await (const value of duplex) received.push(String(value));
    assert.deepEqual(
      received,
      Array.from({ length: 1_000 }, (_, i) => `message ${i}`),
    );
  });

  test('a hundred calls at once share one connection between the sidecars', async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => call(`call ${i}`)));
    assert.deepEqual(
      answers.map(({ value }) => value?.toString()),
      Array.from({ length: 100 }, (_, i) => `call ${i}`),
    );
    assert.equal((await mesh.services.messaging.dataPlane.summary()).inboundConnections, 1);
  });

  test('a refusal is PERMISSION_DENIED with reason and decision id', async () => {
    const { error } = await call('x', { path: '/test.Echo/Bill' });
    assert.equal(error?.code, status.PERMISSION_DENIED);
    const record = mesh.services.messaging.records.at(-1);
    assert.deepEqual(JSON.parse(error!.details), { reason: 'scope_not_own', decision: record?.id });
    assert.deepEqual(error?.metadata.get('cellmesh-decision'), [record?.id]);
  });

  test("a call without context is refused by the caller's own sidecar, as gRPC too", async () => {
    const { error } = await call('x', { metadata: new Metadata() });
    assert.equal(error?.code, status.PERMISSION_DENIED);
    assert.match(error?.details ?? '', /context_missing/);
  });

  test('a deadline ends the call on every hop', async () => {
    const { error } = await call('wait', { deadlineMs: 300 });
    assert.equal(error?.code, status.DEADLINE_EXCEEDED);
    await eventually(() => assert.equal(cancelled, 1));
    assert.equal((await call('after')).value?.toString(), 'after');
  });

  test('a thousand policies and certificates pass under open streams, and none is reset', {
    timeout: 30_000,
  }, async () => {
    const streams = Array.from({ length: 8 }, () => client.makeBidiStreamRequest(stream.path, bytes, bytes, self()));
    const failures: Error[] = [];
    for (const duplex of streams) duplex.on('error', (error) => failures.push(error));
    await pushThousandTimes(mesh, async (word) => {
      const answers = streams.map(async (duplex) => {
        const answer = once(duplex, 'data');
        duplex.write(Buffer.from(word));
        return String((await answer)[0]);
      });
      assert.deepEqual(new Set(await Promise.all(answers)), new Set([word]));
    });
    assert.deepEqual(failures, []);
    for (const duplex of streams) duplex.end();
    await Promise.all(streams.map((duplex) => once(duplex, 'end')));
  });
});
