import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import type { ServerExchange } from '#wire/exchange.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { ClientRecorder, outgoing } from '../support/client-recorder.ts';
import { block, frame, framesOf, http2MemoryServer, preface, settings } from '../support/http2-frames.ts';
import { lendingPair } from '../support/lending-pair.ts';
import { turn } from '../support/memory-proxy.ts';

const endStream = 1;
const endHeaders = 4;
const to = (method: string) =>
  block([':method', method], [':scheme', 'http'], [':path', '/a/long/path'], [':authority', 'a']);

describe('memory that a connection lends is copied by who keeps it:', () => {
  test('the pieces of a header block', async () => {
    let path = '';
    using peer = http2MemoryServer((exchange) => {
      path = exchange.request.path;
    });
    const head = to('GET');
    await peer.send(preface, settings());
    await peer.send(frame('HEADERS', endStream, 1, head.subarray(0, 12)));
    await peer.send(frame('CONTINUATION', 0, 1, head.subarray(12, 30)));
    await peer.send(frame('CONTINUATION', endHeaders, 1, head.subarray(30)));
    assert.equal(path, '/a/long/path');
  });

  test('a body that nobody wants yet', async () => {
    let exchange: ServerExchange<string> | undefined;
    const got: string[] = [];
    using peer = http2MemoryServer((given) => {
      exchange = given;
    });
    await peer.send(preface, settings(), frame('HEADERS', endHeaders, 1, to('POST')));
    await peer.send(frame('DATA', 0, 1, 'hello, '));
    await peer.send(frame('DATA', endStream, 1, 'world'));
    exchange!.listen({
      onRequestData: (bytes) => got.push(bytes.toString()) > 0,
      onRequestEnd: () => got.push('end'),
      onWritable() {},
      onAborted: assert.fail,
    });
    exchange!.readBody();
    await peer.settle();
    assert.equal(got.join(''), 'hello, worldend');
  });

  test('what a tunnel has not read yet', async () => {
    let tunnel: Duplex | undefined;
    using peer = http2MemoryServer((exchange) => {
      tunnel = exchange.acceptTunnel();
    });
    const connect = block([':method', 'CONNECT'], [':authority', 'a:1']);
    await peer.send(preface, settings(), frame('HEADERS', endHeaders, 1, connect));
    await peer.send(frame('DATA', 0, 1, 'hello, '));
    await peer.send(frame('DATA', endStream, 1, 'world'));
    assert.equal(await text(tunnel!), 'hello, world');
    tunnel!.end();
  });

  test('a body that is written before there is a connection', async () => {
    const connected = Promise.withResolvers<Duplex>();
    await using pool = new UpstreamPool({ clock: new FakeClock() });
    const upstream = { key: 'a', protocol: 'h2', connect: () => connected.promise } as const;
    const exchange = pool.request(upstream, outgoing('POST', { framing: 'chunked' }), new ClientRecorder(null));
    const lent = Buffer.from('hello');
    assert.equal(exchange.write(lent), false);
    lent.fill('#');
    exchange.end();
    const [peer, dialed] = lendingPair();
    let received = Buffer.alloc(0);
    peer.on('data', (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
    });
    connected.resolve(dialed);
    for (let i = 0; i < 12; i++) await turn();
    const data = framesOf(received.subarray(preface.length)).filter(({ type }) => type === 'DATA');
    assert.equal(Buffer.concat(data.map(({ payload }) => payload)).toString(), 'hello');
  });
});
