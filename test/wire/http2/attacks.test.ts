import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ExchangeHandler, ServerExchange } from '#wire/exchange.ts';
import { respond } from '#wire/respond.ts';
import {
  block,
  frame,
  getHead,
  http2MemoryServer,
  postHead,
  preface,
  settings,
  uint32,
} from '../support/http2-frames.ts';

const enhanceYourCalm = 11;
const ok: ExchangeHandler<string> = (exchange) => respond(exchange, { status: 200, body: 'ok' });
const many = (count: number, make: (i: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));

describe('a flood is answered with ENHANCE_YOUR_CALM', () => {
  for (const [what, flood] of [
    ['of pings', many(5_000, () => frame('PING', 0, 0, Buffer.alloc(8)))],
    ['of settings', many(5_000, () => settings([3, 100]))],
    ['of empty DATA', Buffer.concat([frame('HEADERS', 4, 1, postHead), many(5_000, () => frame('DATA', 0, 1))])],
    [
      'of DATA that is all padding',
      Buffer.concat([frame('HEADERS', 4, 1, postHead), many(5_000, () => frame('DATA', 8, 1, Buffer.from([1, 0])))]),
    ],
    ['of priorities', many(5_000, () => frame('PRIORITY', 0, 1, Buffer.alloc(5)))],
    ['of window updates of one byte', many(5_000, () => frame('WINDOW_UPDATE', 0, 0, uint32(1)))],
    [
      'of streams that are reset at once',
      many(5_000, (i) =>
        Buffer.concat([frame('HEADERS', 5, 2 * i + 1, getHead), frame('RST_STREAM', 0, 2 * i + 1, uint32(8))]),
      ),
    ],
    ['of malformed heads', many(5_000, (i) => frame('HEADERS', 5, 2 * i + 1, block(['x', 'y'])))],
    [
      'of continuations',
      Buffer.concat([frame('HEADERS', 0, 1, getHead), many(100, () => frame('CONTINUATION', 0, 1, block(['a', 'b'])))]),
    ],
    [
      'of empty continuations',
      Buffer.concat([frame('HEADERS', 0, 1, getHead), many(5_000, () => frame('CONTINUATION', 0, 1))]),
    ],
    [
      'of one header block without end',
      Buffer.concat([
        frame('HEADERS', 0, 1, getHead),
        many(20, () => frame('CONTINUATION', 0, 1, Buffer.alloc(16_000))),
      ]),
    ],
    ['of streams beyond the limit', many(5_000, (i) => frame('HEADERS', 4, 2 * i + 1, postHead))],
  ] as const) {
    test(what, async () => {
      using server = http2MemoryServer((exchange) => {
        if (exchange.request.method === 'GET') respond(exchange, { status: 200 });
      });
      await server.send(preface, settings(), flood);
      assert.deepEqual(server.errors(0), [enhanceYourCalm]);
      assert.deepEqual(server.handlerErrors, []);
    });
  }
});

describe('a peer that is slow on purpose loses its connection', () => {
  test('without its settings', async () => {
    using server = http2MemoryServer(ok);
    await server.send(preface);
    await server.clock.advance(10_001);
    await server.settle();
    assert.equal(server.isClosed, true);
  });

  test('with half a frame', async () => {
    using server = http2MemoryServer(ok);
    await server.send(preface, settings(), frame('HEADERS', 5, 1, getHead).subarray(0, 12));
    await server.clock.advance(10_001);
    await server.settle();
    assert.equal(server.isClosed, true);
  });

  test('with a header block that does not go on', async () => {
    using server = http2MemoryServer(ok);
    await server.send(preface, settings(), frame('HEADERS', 1, 1, getHead));
    await server.clock.advance(10_001);
    await server.settle();
    assert.equal(server.isClosed, true);
  });

  test('with a header block in ever more pieces', async () => {
    using server = http2MemoryServer(ok);
    await server.send(preface, settings(), frame('HEADERS', 1, 1, getHead));
    for (let i = 0; i < 3; i++) {
      await server.clock.advance(3_000);
      await server.send(frame('CONTINUATION', 0, 1, block(['a', 'b'])));
      assert.equal(server.isClosed, false);
    }
    await server.clock.advance(1_001);
    await server.settle();
    assert.equal(server.isClosed, true);
  });

  test('with nothing at all, after the idle time, by GOAWAY', async () => {
    using server = http2MemoryServer(ok);
    await server.send(preface, settings());
    await server.clock.advance(75_001);
    await server.settle();
    assert.deepEqual(server.errors(0), [0]);
  });

  test('that does not answer a ping while it has a stream', async () => {
    using server = http2MemoryServer(() => {});
    await server.send(preface, settings(), frame('HEADERS', 5, 1, getHead));
    await server.clock.advance(20_001);
    await server.settle();
    assert.equal(server.frames.filter(({ type }) => type === 'PING').length, 1);
    await server.send(frame('PING', 1, 0, Buffer.alloc(8)));
    await server.clock.advance(10_001);
    await server.settle();
    assert.equal(server.isClosed, false);
    await server.clock.advance(20_001);
    await server.settle();
    await server.clock.advance(10_001);
    await server.settle();
    assert.equal(server.isClosed, true);
  });

  test('a body that does not come costs its stream: 408', async () => {
    let aborted = '';
    using server = http2MemoryServer((exchange) => {
      exchange.listen({
        onRequestData: () => true,
        onRequestEnd() {},
        onWritable() {},
        onAborted: (error) => {
          aborted = error.message;
        },
      });
      exchange.readBody();
    });
    await server.send(preface, settings(), frame('HEADERS', 4, 1, postHead), frame('DATA', 0, 1, 'x'));
    await server.clock.advance(15_000);
    await server.send(frame('PING', 0, 0, Buffer.alloc(8)));
    await server.clock.advance(15_001);
    await server.settle();
    assert.match(aborted, /body_timeout/);
    const head = server.frames.find(({ type }) => type === 'HEADERS');
    assert.ok(head?.payload.includes('408'));
    assert.equal(server.isClosed, false);
  });

  test('a window that never opens costs its stream', async () => {
    using server = http2MemoryServer((exchange) => respond(exchange, { status: 200, body: 'x'.repeat(100) }));
    await server.send(preface, settings([4, 0]), frame('HEADERS', 5, 1, getHead));
    await server.clock.advance(15_000);
    await server.send(frame('PING', 0, 0, Buffer.alloc(8)));
    await server.clock.advance(15_001);
    await server.settle();
    assert.deepEqual(server.errors(1), [8]);
    assert.equal(server.isClosed, false);
  });
});

describe('a head that is refused', () => {
  for (const [what, status, fields] of [
    [
      'without a method',
      '400',
      [
        [':scheme', 'http'],
        [':path', '/'],
        [':authority', 'a'],
      ],
    ],
    [
      'with a field of the connection',
      '400',
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', '/'],
        [':authority', 'a'],
        ['connection', 'close'],
      ],
    ],
    [
      'with a transfer coding',
      '400',
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', '/'],
        [':authority', 'a'],
        ['transfer-encoding', 'chunked'],
      ],
    ],
    [
      'whose Host differs',
      '400',
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', '/'],
        [':authority', 'a'],
        ['host', 'b'],
      ],
    ],
    [
      'whose path is a URL',
      '400',
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', 'http://b/'],
        [':authority', 'a'],
      ],
    ],
    [
      'with a fragment',
      '400',
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', '/#x'],
        [':authority', 'a'],
      ],
    ],
    [
      'with user information',
      '400',
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', '/'],
        [':authority', 'u@a'],
      ],
    ],
    [
      'with too large a line',
      '431',
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', '/'],
        [':authority', 'a'],
        ['x', 'y'.repeat(9_000)],
      ],
    ],
    [
      'with too long a path',
      '414',
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', `/${'y'.repeat(9_000)}`],
        [':authority', 'a'],
      ],
    ],
  ] as const) {
    test(`${what} is answered with ${status}, and the next one is served`, async () => {
      using server = http2MemoryServer(ok);
      await server.send(preface, settings(), frame('HEADERS', 5, 1, block(...fields)), frame('HEADERS', 5, 3, getHead));
      const heads = server.frames.filter(({ type }) => type === 'HEADERS');
      assert.ok(heads[0]!.payload.includes(status) || status === '400', status);
      assert.deepEqual(
        heads.map(({ stream }) => stream),
        [1, 3],
      );
      assert.deepEqual(server.errors(1), status === '400' ? [1] : []);
    });
  }

  test('is answered as its consumer says', async () => {
    using server = http2MemoryServer(ok, {
      onRefused: (error) => ({ status: 400, fields: { 'cellmesh-decision': 'd-1' }, body: error.rule ?? '' }),
    });
    await server.send(preface, settings(), frame('HEADERS', 5, 1, block(['x', 'y'])));
    assert.ok(server.frames.find(({ type }) => type === 'HEADERS')?.payload.includes('d-1'));
    assert.equal(server.frames.find(({ type }) => type === 'DATA')?.payload.toString(), 'method');
  });
});

describe('streams of one connection', () => {
  test('are answered in any order, a window of one byte after the other', async () => {
    const exchanges: ServerExchange<string>[] = [];
    using server = http2MemoryServer((exchange) => void exchanges.push(exchange));
    await server.send(preface, settings([4, 1]), frame('HEADERS', 5, 1, getHead), frame('HEADERS', 5, 3, getHead));
    respond(exchanges[1]!, { status: 200, body: 'ab' });
    respond(exchanges[0]!, { status: 200, body: 'c' });
    await server.settle();
    await server.send(frame('WINDOW_UPDATE', 0, 3, uint32(1)));
    const data = server.frames
      .filter(({ type }) => type === 'DATA')
      .map(({ stream, payload }) => `${stream}${payload}`);
    assert.deepEqual(data.sort(), ['1c', '3a', '3b']);
  });

  test('that were reset here may still get what was on its way', async () => {
    using server = http2MemoryServer((exchange) => exchange.abort(new Error('no') as never));
    await server.send(preface, settings(), frame('HEADERS', 4, 1, postHead));
    await server.send(
      frame('DATA', 0, 1, 'late'),
      frame('HEADERS', 5, 1, block(['x', 'y'])),
      frame('HEADERS', 5, 3, getHead),
    );
    assert.deepEqual(server.errors(0), []);
    assert.deepEqual(server.errors(3), [2]);
  });
});
