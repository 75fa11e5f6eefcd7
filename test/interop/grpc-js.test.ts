import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import {
  type CallOptions,
  Client,
  credentials,
  Metadata,
  type ServiceError,
  type StatusObject,
  status,
} from '@grpc/grpc-js';
import { eventually } from '../support/eventually.ts';
import { type SidecarPair, startSidecarPair } from '../support/sidecar-pair.ts';
import { type EchoGrpcServer, echo, startEchoGrpcServer } from './support/echo-grpc-server.ts';

/** Google's gRPC library for Node on both sides of two sidecars, each a process of its own. */
const sizes = [0, 1, 1024, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 1_048_576, 16_777_216];
const drainMs = 60_000;

let server: EchoGrpcServer;
let pair: SidecarPair;
let client: Client;

before(async () => {
  server = await startEchoGrpcServer();
  const flags = { drain: `${drainMs}ms` };
  pair = await startSidecarPair({ applicationPort: server.port, protocol: 'grpc', flags });
  client = new Client(`127.0.0.1:${pair.port}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
  });
});

after(async () => {
  client?.close();
  await server?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

const bytes = (value: Buffer): Buffer => value;
const sha256 = (value: Uint8Array) => createHash('sha256').update(value).digest('hex');

function metadataOf(fields: Readonly<Record<string, string | Buffer | readonly string[]>> = {}): Metadata {
  const metadata = new Metadata();
  for (const [name, values] of Object.entries(fields)) {
    for (const value of Array.isArray(values) ? values : [values]) metadata.add(name, value);
  }
  return metadata;
}

function within(ms: number): CallOptions {
  return { deadline: new Date(performance.timeOrigin + performance.now() + ms) };
}

interface Answer {
  readonly value: Buffer | undefined;
  readonly error: ServiceError | undefined;
  readonly initial: Metadata;
  readonly trailers: Metadata;
}

function unary(message: Buffer, metadata = metadataOf(), options = within(20_000)): Promise<Answer> {
  const initial = new Metadata();
  const trailers = new Metadata();
  return new Promise((resolve) => {
    const call = client.makeUnaryRequest(echo.unary.path, bytes, bytes, message, metadata, options, (error, value) =>
      setImmediate(() => resolve({ value, error: error ?? undefined, initial, trailers })),
    );
    call.on('metadata', (received: Metadata) => initial.merge(received));
    call.on('status', ({ metadata: received }: { metadata: Metadata }) => trailers.merge(received));
  });
}

describe('grpc-js on both sides of two sidecars', { timeout: 120_000 }, () => {
  for (const size of sizes) {
    test(`unary: ${size} bytes come back as they were`, async () => {
      const message = randomBytes(size);
      const { value, error } = await unary(message);
      assert.equal(error, undefined);
      assert.equal(sha256(value!), sha256(message));
    });
  }

  test('metadata and trailers pass both ways: text, repeated, binary', async () => {
    const binary = randomBytes(300);
    const sent = metadataOf({ 'x-text': 'a b, c', 'x-many': ['1', '2', '3'], 'x-some-bin': binary });
    const { initial, trailers } = await unary(Buffer.from('x'), sent);
    const many = (metadata: Metadata, name: string) => metadata.get(name).join(', ');
    assert.deepEqual([many(server.metadata, 'x-text'), many(server.metadata, 'x-many')], ['a b, c', '1, 2, 3']);
    assert.deepEqual(server.metadata.get('x-some-bin'), [binary]);
    assert.deepEqual([many(initial, 'x-text'), many(initial, 'x-many')], ['a b, c', '1, 2, 3']);
    assert.deepEqual(initial.get('x-some-bin'), [binary]);
    assert.deepEqual([many(trailers, 'trailer-x-text'), many(trailers, 'trailer-x-many')], ['a b, c', '1, 2, 3']);
    assert.deepEqual(trailers.get('trailer-x-some-bin'), [binary]);
  });

  for (let code = 1; code <= 16; code++) {
    test(`the application's status ${status[code]} arrives with text and trailers`, async () => {
      const { error } = await unary(Buffer.from('x'), metadataOf({ 'end-with': String(code), 'x-id': '7' }));
      assert.equal(error?.code, code);
      assert.equal(error?.details, `100 % of "${code}" – ünïcode`);
      assert.deepEqual(error?.metadata.get('trailer-x-id'), ['7']);
    });
  }

  test('client streaming: a thousand messages arrive in order', async () => {
    const messages = Array.from({ length: 1_000 }, () => randomBytes(1_000));
    const value = await new Promise<Buffer>((resolve, reject) => {
      const call = client.makeClientStreamRequest(
        echo.collect.path,
        bytes,
        bytes,
        metadataOf(),
        within(20_000),
        (error, received) => (error ? reject(error) : resolve(received!)),
      );
      for (const message of messages) call.write(message);
      call.end();
    });
    assert.equal(sha256(value), sha256(Buffer.concat(messages)));
  });

  test('server streaming: a thousand messages of 10 KiB wait for a slow reader, and are whole', async () => {
    const message = randomBytes(10_240);
    const metadata = metadataOf({ repeat: '1000', 'x-id': '7' });
    const call = client.makeServerStreamRequest(echo.repeat.path, bytes, bytes, message, metadata, within(20_000));
    const ended = once(call, 'status');
    const [first] = (await once(call, 'data')) as [Buffer];
    const received = [first];
    call.pause();
    await eventually(() => assert.equal(server.open, 1));
    for await (const value of call) received.push(value as Buffer);
    assert.equal(received.length, 1_000);
    assert.ok(received.every((value) => value.equals(message)));
    const [{ code, metadata: trailers }] = (await ended) as [{ code: number; metadata: Metadata }];
    assert.deepEqual([code, trailers.get('trailer-x-id')], [status.OK, ['7']]);
  });

  test('bidirectional: each message is answered before the next is sent', async () => {
    const call = client.makeBidiStreamRequest(echo.chat.path, bytes, bytes, metadataOf(), within(20_000));
    for (let i = 0; i < 200; i++) {
      const answered = once(call, 'data');
      call.write(Buffer.from(`message ${i}`));
      assert.equal(String((await answered)[0]), `message ${i}`);
    }
    call.end();
    const [{ code }] = (await once(call, 'status')) as [{ code: number }];
    assert.equal(code, status.OK);
  });

  test('a server may end a stream while its client still writes', async () => {
    const metadata = metadataOf({ 'end-with': String(status.ABORTED) });
    const call = client.makeBidiStreamRequest(echo.chat.path, bytes, bytes, metadata, within(20_000));
    call.resume();
    call.write(Buffer.from('the first of many'));
    const [error] = (await once(call, 'error')) as [ServiceError];
    assert.equal(error.code, status.ABORTED);
  });

  test('a deadline is known on the other side, and ends the call there too', async () => {
    const before = server.cancelled;
    const { error } = await unary(Buffer.from('x'), metadataOf({ wait: '1' }), within(500));
    assert.equal(error?.code, status.DEADLINE_EXCEEDED);
    assert.ok(Number.isFinite(Number(server.deadline)), 'the application was given no deadline');
    await eventually(() => assert.equal(server.cancelled, before + 1));
  });

  for (const kind of ['unary', 'collect', 'repeat', 'chat'] as const) {
    test(`what a client cancels is cancelled at the application: ${kind}`, async () => {
      const before = server.cancelled;
      const metadata = metadataOf({ wait: '1', 'x-id': '7' });
      const message = Buffer.from('x');
      const ignore = () => {};
      const call = {
        unary: () => client.makeUnaryRequest(echo.unary.path, bytes, bytes, message, metadata, ignore),
        collect: () => client.makeClientStreamRequest(echo.collect.path, bytes, bytes, metadata, ignore),
        repeat: () => client.makeServerStreamRequest(echo.repeat.path, bytes, bytes, message, metadata),
        chat: () => client.makeBidiStreamRequest(echo.chat.path, bytes, bytes, metadata),
      }[kind]();
      call.on('error', ignore);
      if (call instanceof Readable) call.resume();
      if (call instanceof Writable) call.write(message);
      const [initial] = (await once(call, 'metadata')) as [Metadata];
      assert.deepEqual(initial.get('x-id'), ['7']);
      const ended = new Promise<StatusObject>((resolve) => call.once('status', resolve));
      call.cancel();
      assert.equal((await ended).code, status.CANCELLED);
      await eventually(() => assert.equal(server.cancelled, before + 1));
    });
  }

  test('nothing of it is left: no call is open, and the sidecars end at once', async () => {
    await eventually(() => assert.equal(server.open, 0));
    client.close();
    await server[Symbol.asyncDispose]();
    assert.ok((await pair.callee.stop()) < drainMs / 2, 'the callee waited for a stream');
    assert.ok((await pair.caller.stop()) < drainMs / 2, 'the caller waited for a stream');
  });
});
