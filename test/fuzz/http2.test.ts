import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { CellmeshError } from '#runtime/errors.ts';
import { HpackDecoder } from '#wire/http2/hpack-decoder.ts';
import { ConnectionFault } from '#wire/http2/protocol.ts';
import { respond } from '#wire/respond.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { outgoing } from '../wire/support/client-recorder.ts';
import {
  block,
  frame,
  getHead,
  http2MemoryServer,
  postHead,
  preface,
  settings,
  uint32,
} from '../wire/support/http2-frames.ts';
import { turn } from '../wire/support/memory-proxy.ts';
import { fuzzCount, fuzzSeed } from './budget.ts';
import { Mutator } from './mutate.ts';

/** As in `http1.test.ts`; a connection in memory costs more than a parser, so there are fewer of them. */
const count = fuzzCount(20_000);
const connections = Math.ceil(count / 10);

const blocks = [
  '828684418cf1e3c2e5f23a6ba0ab90f4ff',
  '828684be5886a8eb10649cbf',
  '400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
  '3fe11f8287bf4082497f86497ed3cc',
  '488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff',
].map((hex) => Buffer.from(hex, 'hex').toString('latin1'));

test(`${count} mutated header blocks, seed ${fuzzSeed}: only compression errors and findings`, () => {
  const mutator = new Mutator(blocks, fuzzSeed);
  let decoder = new HpackDecoder(4096);
  for (let i = 0; i < count; i++) {
    const bytes = mutator.next();
    try {
      const { fields } = decoder.decode(bytes, 0, bytes.length, { listBytesMax: 8192, fieldsMax: 64 });
      for (const field of fields) assert.match(field.line, /^:?[!-~]+: [\t -~]*\r\n$/);
      assert.ok(decoder.tableBytes <= 4096);
    } catch (error) {
      if (!(error instanceof ConnectionFault)) throw error;
      decoder = new HpackDecoder(4096);
    }
  }
});

const wireOf = (...frames: readonly Buffer[]) => Buffer.concat(frames).toString('latin1');
const ok = block([':status', '200'], ['x-a', 'b']);
const requests = [
  wireOf(settings(), frame('HEADERS', 5, 1, getHead), frame('HEADERS', 5, 3, getHead)),
  wireOf(settings([4, 10]), frame('HEADERS', 4, 1, postHead), frame('DATA', 0, 1, 'hello'), frame('DATA', 1, 1, '!')),
  wireOf(frame('SETTINGS', 1, 0), frame('HEADERS', 0, 1, postHead), frame('CONTINUATION', 4, 1, block(['a', 'b']))),
  wireOf(
    settings(),
    frame('HEADERS', 4, 1, postHead),
    frame('DATA', 9, 1, '\x02hi\0\0'),
    frame('RST_STREAM', 0, 1, uint32(8)),
  ),
  wireOf(
    settings(),
    frame('PING', 0, 0, '12345678'),
    frame('WINDOW_UPDATE', 0, 0, uint32(9)),
    frame('PRIORITY', 0, 5, 'abcde'),
  ),
];
const responses = [
  wireOf(settings(), frame('HEADERS', 5, 1, ok)),
  wireOf(
    settings([3, 1]),
    frame('HEADERS', 4, 1, ok),
    frame('DATA', 0, 1, 'hello'),
    frame('HEADERS', 5, 1, block(['x', 'y'])),
  ),
  wireOf(settings(), frame('HEADERS', 4, 1, block([':status', '103'])), frame('RST_STREAM', 0, 1, uint32(7))),
  wireOf(settings(), frame('GOAWAY', 0, 0, Buffer.concat([uint32(0), uint32(0)])), frame('DATA', 1, 1, 'x')),
];

test(`${connections} mutated connections to the server, seed ${fuzzSeed}: nothing but typed errors, and every exchange ends`, async () => {
  const mutator = new Mutator(requests, fuzzSeed);
  for (let i = 0; i < connections; i++) {
    let open = 0;
    const server = http2MemoryServer((exchange) => {
      open++;
      exchange.endListener = { onEnd: () => void open-- };
      exchange.listen({
        onRequestData: () => true,
        onRequestEnd: () => respond(exchange, { status: 200, body: 'ok' }),
        onWritable() {},
        onAborted: (error) => assert.ok(error instanceof CellmeshError),
      });
      exchange.readBody();
    });
    server.client.write(preface);
    server.client.write(mutator.next());
    for (let turns = 0; turns < 3; turns++) await turn();
    server[Symbol.dispose]();
    await turn();
    assert.deepEqual(server.handlerErrors, []);
    assert.equal(open, 0);
  }
});

test(`${connections} mutated connections to the client, seed ${fuzzSeed}: every request ends once, with a typed error or none`, async () => {
  const mutator = new Mutator(responses, fuzzSeed);
  for (let i = 0; i < connections; i++) {
    let ends = 0;
    const bytes = mutator.next();
    const pool = new UpstreamPool({ clock: new FakeClock() });
    const connect = async () => {
      const [near, far] = duplexPair();
      far.on('error', () => {}).resume();
      far.write(bytes);
      return near;
    };
    pool.request({ key: 'memory', protocol: 'h2', connect }, outgoing('POST'), {
      onRequestReady() {},
      onRequestWritable() {},
      onInformed() {},
      onResponse() {},
      onResponseData: () => true,
      onResponseEnd: () => void ends++,
      onFailed: (error) => {
        assert.ok(error instanceof CellmeshError);
        ends++;
      },
    });
    for (let turns = 0; turns < 3; turns++) await turn();
    await pool[Symbol.asyncDispose]();
    await turn();
    assert.equal(ends, 1);
  }
});
