import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { systemClock } from '#runtime/clock.ts';
import type { ExchangeHandler, ExchangeOutcome, ServerExchange } from '#wire/exchange.ts';
import { listenPlain } from '#wire/listen-plain.ts';
import { respond } from '#wire/respond.ts';
import type { ServeOptions } from '#wire/server-connection.ts';
import { eventually } from '../../support/eventually.ts';

interface Peer extends AsyncDisposable {
  readonly client: http2.ClientHttp2Session;
  readonly outcomes: ExchangeOutcome[];
  readonly port: number;
  close(graceMs: number): Promise<void>;
}

/** The engine behind a port, and Node's own client as the peer. */
async function serve(
  handler: ExchangeHandler<undefined>,
  options: Partial<ServeOptions<undefined>> = {},
): Promise<Peer> {
  const outcomes: ExchangeOutcome[] = [];
  const listener = await listenPlain<undefined>(
    (exchange) => {
      exchange.endListener = { onEnd: (outcome) => outcomes.push(outcome) };
      return handler(exchange);
    },
    { host: '127.0.0.1', port: 0, clock: systemClock, contextOf: () => undefined, ...options },
  );
  const client = http2.connect(`http://127.0.0.1:${listener.address.port}`);
  client.on('error', () => {});
  return {
    client,
    outcomes,
    port: listener.address.port,
    close: (graceMs) => listener.close(graceMs),
    async [Symbol.asyncDispose]() {
      client.destroy();
      await listener.close(0);
    },
  };
}

function readBody(exchange: ServerExchange<undefined>): Promise<{ body: Buffer; trailers: string }> {
  const pieces: Buffer[] = [];
  return new Promise((resolve, reject) => {
    exchange.listen({
      onRequestData: (bytes) => pieces.push(Buffer.from(bytes)) > 0,
      onRequestEnd: (trailers) => resolve({ body: Buffer.concat(pieces), trailers }),
      onWritable() {},
      onAborted: reject,
    });
    exchange.readBody();
  });
}

const echo: ExchangeHandler<undefined> = async (exchange) => {
  const { body, trailers } = await readBody(exchange);
  exchange.respond({ status: 200, fields: 'x-path: /\r\n', framing: 'chunked', contentLength: -1 });
  exchange.write(body);
  exchange.end(trailers);
};

describe("a request of Node's HTTP/2 client", () => {
  for (const size of [0, 1, 16_384, 65_535, 65_536, 1_000_000]) {
    test(`comes back byte for byte with ${size} bytes`, async () => {
      await using peer = await serve(echo);
      const request = peer.client.request({ ':method': 'POST', ':path': '/x' });
      const sent = Buffer.alloc(size, 'abcdefg');
      request.end(sent);
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece);
      assert.ok(Buffer.concat(pieces).equals(sent));
      await eventually(() => assert.equal(peer.outcomes[0]?.responseBodyBytes, size));
      assert.equal(peer.outcomes[0]?.requestBodyBytes, size);
    });
  }

  test('shares its connection with 200 others', async () => {
    await using peer = await serve(echo);
    await once(peer.client, 'remoteSettings');
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const request = peer.client.request({ ':method': 'POST' });
        request.end(`number ${i}`);
        return text(request);
      }),
    );
    assert.deepEqual(
      answers,
      Array.from({ length: 200 }, (_, i) => `number ${i}`),
    );
  });

  test('is given on as HTTP/1.1 would be: host, path, cookies in one, trailers', async () => {
    let seen: unknown;
    await using peer = await serve(async (exchange) => {
      const { request } = exchange;
      const { trailers } = await readBody(exchange);
      seen = {
        target: [request.method, request.path, request.authority, request.framing, request.acceptsTrailers],
        lines: request.linesExcept({ hasId: new Uint8Array(64), otherNames: new Set(['x-gone']) }),
        trailers,
      };
      respond(exchange, { status: 204 });
    });
    const request = peer.client.request(
      {
        ':method': 'POST',
        ':path': '/a?b=c',
        ':authority': 'API.example:80',
        cookie: ['a=1', 'b=2'],
        te: 'trailers',
        'x-gone': '1',
        'x-kept': '2',
      },
      { endStream: false, waitForTrailers: true },
    );
    request.on('wantTrailers', () => request.sendTrailers({ 'x-sum': '1', 'content-type': 'a/b', authorization: 'x' }));
    request.end('body');
    await once(request, 'response');
    assert.deepEqual(seen, {
      target: ['POST', '/a?b=c', 'api.example:80', 'chunked', true],
      lines: 'x-kept: 2\r\ncookie: a=1; b=2\r\n',
      trailers: 'x-sum: 1\r\n',
    });
  });

  test('gets interim responses, and trailers at the end', async () => {
    await using peer = await serve((exchange) => {
      exchange.inform(103, 'link: </a.css>\r\n');
      exchange.respond({ status: 200, fields: '', framing: 'chunked', contentLength: -1 });
      exchange.write(Buffer.from('x'));
      exchange.end('grpc-status: 0\r\n');
    });
    const request = peer.client.request();
    const interim = once(request, 'headers');
    const trailers = once(request, 'trailers');
    assert.equal(await text(request), 'x');
    assert.equal((await interim)[0][':status'], 103);
    assert.equal((await trailers)[0]['grpc-status'], '0');
  });

  test('learns by one frame that there is nothing but a head', async () => {
    await using peer = await serve((exchange) => {
      exchange.respond({ status: 200, fields: 'grpc-status: 5\r\n', framing: 'none', contentLength: -1 });
      exchange.end();
    });
    const request = peer.client.request();
    const [, flags] = await once(request, 'response');
    assert.equal(flags & 1, 1);
    request.resume();
  });

  test('with HEAD gets the length and no body', async () => {
    await using peer = await serve((exchange) => respond(exchange, { status: 200, body: 'hello' }));
    const request = peer.client.request({ ':method': 'HEAD' });
    const [head] = await once(request, 'response');
    assert.equal(head['content-length'], '5');
    assert.equal(await text(request), '');
  });

  test('with Expect is told to go on, unless the answer comes at once', async () => {
    await using peer = await serve(echo);
    const request = peer.client.request({ ':method': 'POST', expect: '100-continue' });
    await once(request, 'continue');
    request.end('now');
    assert.equal(await text(request), 'now');
  });

  test('is answered before its body is complete, and need not send the rest', async () => {
    await using peer = await serve((exchange) => respond(exchange, { status: 413, body: 'too much' }));
    const request = peer.client.request({ ':method': 'POST' });
    request.write('begin');
    const closed = once(request, 'close');
    assert.equal(await text(request), 'too much');
    await closed;
    assert.equal(request.rstCode, http2.constants.NGHTTP2_NO_ERROR);
    await once(peer.client.request().resume(), 'end');
  });

  test('that is given up tells the handler so, and others go on', async () => {
    const aborted: string[] = [];
    await using peer = await serve((exchange) => {
      exchange.listen({
        onRequestData: () => true,
        onRequestEnd() {},
        onWritable() {},
        onAborted: ({ code }) => aborted.push(code),
      });
      exchange.readBody();
      if (exchange.request.path === '/ok') respond(exchange, { status: 200 });
    });
    const request = peer.client.request({ ':method': 'POST' });
    request.on('error', () => {});
    request.write('x');
    const other = peer.client.request({ ':path': '/ok' });
    await once(other, 'response');
    request.close(http2.constants.NGHTTP2_CANCEL);
    await eventually(() => assert.deepEqual(aborted, ['exchange_aborted']));
    other.resume();
    await once(peer.client.request({ ':path': '/ok' }).resume(), 'end');
  });

  test('that the handler aborts ends in a reset, never in a short body', async () => {
    await using peer = await serve((exchange) => {
      exchange.respond({ status: 200, fields: '', framing: 'chunked', contentLength: -1 });
      exchange.write(Buffer.from('half'));
      setImmediate(() => exchange.abort(new Error('broken') as never));
    });
    const request = peer.client.request();
    await assert.rejects(text(request));
    assert.equal(request.rstCode, http2.constants.NGHTTP2_INTERNAL_ERROR);
  });

  test('whose handler throws gets 500, and the connection lives', async () => {
    const faults: unknown[] = [];
    await using peer = await serve(
      (exchange) => {
        if (exchange.request.path === '/bad') throw new Error('a fault');
        respond(exchange, { status: 200 });
      },
      { onHandlerError: (error) => faults.push(error) },
    );
    const [bad] = await once(peer.client.request({ ':path': '/bad' }).resume(), 'response');
    assert.equal(bad[':status'], 500);
    const [good] = await once(peer.client.request().resume(), 'response');
    assert.equal(good[':status'], 200);
    assert.equal(faults.length, 1);
  });

  test('with CONNECT becomes a tunnel whose halves close one by one', async () => {
    await using peer = await serve((exchange) => {
      const tunnel = exchange.acceptTunnel();
      tunnel.on('data', (bytes: Buffer) => tunnel.write(bytes.toString().toUpperCase()));
      tunnel.on('end', () => tunnel.end('bye'));
    });
    const request = peer.client.request({ ':method': 'CONNECT', ':authority': 'a:443' });
    const answer = text(request);
    request.write('hello ');
    await once(request, 'response');
    request.end('you ');
    assert.equal(await answer, 'HELLO YOU bye');
  });
});

describe('flow control', () => {
  test('a slow reader holds up neither memory nor the other streams', async () => {
    let full: ServerExchange<undefined> | undefined;
    let accepted = 0;
    await using peer = await serve((exchange) => {
      if (exchange.request.path === '/small') return respond(exchange, { status: 200, body: 'small' });
      full = exchange;
      exchange.respond({ status: 200, fields: '', framing: 'chunked', contentLength: -1 });
      const fill = () => {
        while (accepted < 4_000_000 && exchange.write(Buffer.alloc(10_000, 'x'))) accepted += 10_000;
        if (accepted >= 4_000_000) exchange.end();
      };
      exchange.listen({ onRequestData: () => true, onRequestEnd() {}, onAborted() {}, onWritable: fill });
      fill();
    });
    const slow = peer.client.request();
    await once(slow, 'response');
    await eventually(() => assert.ok(accepted > 0));
    const other = peer.client.request({ ':path': '/small' });
    assert.equal(await text(other), 'small');
    assert.ok(accepted < 1_000_000, `${accepted} bytes were taken for a reader that takes none`);
    assert.ok((await text(slow)).length > 4_000_000 - 10_000);
    assert.equal(full?.ended, true);
  });

  test('a handler that does not want the body yet is not sent more than its window', async () => {
    let exchange: ServerExchange<undefined> | undefined;
    await using peer = await serve((one) => {
      exchange = one;
    });
    const request = peer.client.request({ ':method': 'POST' });
    let sent = 0;
    const write = () => {
      while (sent < 2_000_000) {
        sent += 50_000;
        if (!request.write(Buffer.alloc(50_000, 'y'))) return void request.once('drain', write);
      }
      request.end();
    };
    write();
    await eventually(() => assert.ok(exchange !== undefined));
    const body = readBody(exchange!);
    assert.equal((await body).body.length, 2_000_000);
    respond(exchange!, { status: 204 });
  });
});

describe('a connection that has to end', () => {
  test('lets its requests end, and says which it has seen', async () => {
    let exchange: ServerExchange<undefined> | undefined;
    await using peer = await serve((one) => {
      exchange = one;
    });
    const request = peer.client.request();
    await eventually(() => assert.ok(exchange !== undefined));
    const goaway = once(peer.client, 'goaway');
    const closing = peer.close(5_000);
    assert.equal((await goaway)[0], 0);
    respond(exchange!, { status: 200, body: 'in time' });
    assert.equal(await text(request), 'in time');
    await closing;
  });

  test('without requests ends at once', async () => {
    await using peer = await serve(() => {});
    await once(peer.client, 'remoteSettings');
    await peer.close(5_000);
  });
});
