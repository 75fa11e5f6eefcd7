import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Upstream } from '#wire/exchange.ts';
import { fieldSet } from '#wire/field-names.ts';
import { forward } from '#wire/forward.ts';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import type { WireError } from '#wire/wire-error.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { turn } from './support/memory-proxy.ts';
import { memoryServer } from './support/memory-server.ts';
import { type FarEnd, memoryUpstream } from './support/memory-upstream.ts';

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const busy = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy';

/** Plays the first connection; all later ones answer 200 as soon as `until` of the request is there. */
function firstThen(first: (end: FarEnd) => void | Promise<void>, until: string) {
  return async (end: FarEnd, index: number) => {
    if (index === 0) return first(end);
    while (!end.received.endsWith(until)) await turn();
    end.socket.write(ok);
  };
}

function setting(script: (end: FarEnd, index: number) => void | Promise<void>, retriesMax = 1, afterMs = 0) {
  const clock = new FakeClock();
  const pool = new UpstreamPool({ clock });
  const upstream = memoryUpstream(script);
  const heard: string[] = [];
  let retries = 0;
  const next = ({ error, status }: { error?: WireError; status?: number }) => {
    heard.push(error?.code ?? `status ${status}`);
    return retries++ < retriesMax ? { upstream: upstream as Upstream, retries, afterMs } : undefined;
  };
  const server = memoryServer((exchange) =>
    forward(exchange, {
      client: pool,
      clock,
      upstream,
      retry: {
        mayRetry: (status) => status === 503 && retries < retriesMax,
        next,
        sent() {},
        answered: (status) => void heard.push(`answered ${status}`),
        over: (error) => void heard.push(`over ${error?.code ?? 'well'}`),
      },
      target: exchange.request.path,
      request: { drop: fieldSet(), append: '' },
    }),
  );
  return {
    clock,
    server,
    upstream,
    heard,
    async [Symbol.asyncDispose]() {
      server[Symbol.dispose]();
      await pool[Symbol.asyncDispose]();
    },
  };
}

const post = (body: string) => `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const reset = async (end: FarEnd) => {
  await end.heads(1);
  await turn();
  end.socket.destroy();
};

describe('a request whose upstream breaks off', () => {
  test('goes out again with its whole body, and says which attempt it is', async () => {
    await using proxy = setting(firstThen(reset, 'hello'));
    await proxy.server.send(post('hello'));
    assert.match(proxy.server.answered, /^HTTP\/1\.1 200 OK[\s\S]*ok$/);
    const [first, second] = proxy.upstream.ends.map(({ received }) => received);
    assert.doesNotMatch(first!, /retry-attempt/);
    assert.match(second!, /retry-attempt: 1\r\ncontent-length: 5\r\n\r\nhello$/);
    assert.deepEqual(proxy.heard, ['upstream_failed', 'answered 200', 'over well']);
  });

  test('goes out again with what comes of its body later, and its trailers', async () => {
    await using proxy = setting(firstThen(reset, '0\r\nx-sum: 1\r\n\r\n'));
    await proxy.server.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n');
    await proxy.server.settle();
    await proxy.server.send('3\r\ntwo\r\n0\r\nx-sum: 1\r\n\r\n');
    assert.match(proxy.upstream.ends[1]!.received, /\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nx-sum: 1\r\n\r\n$/);
    assert.match(proxy.server.answered, /^HTTP\/1\.1 200 OK/);
  });

  test('does not once more than 64 KiB of its body are gone', async () => {
    await using proxy = setting(async (end) => {
      while (end.received.length < 65_537) await turn();
      end.socket.destroy();
    });
    await proxy.server.send(post('x'.repeat(65_537)));
    while (proxy.server.answered === '') await turn();
    assert.match(proxy.server.answered, /^HTTP\/1\.1 502 /);
    assert.deepEqual(proxy.heard, ['over upstream_failed']);
  });

  test('does not when its answer has begun', async () => {
    await using proxy = setting(async (end) => {
      await end.heads(1);
      end.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf');
      await turn();
      end.socket.destroy();
    });
    await proxy.server.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.match(proxy.server.answered, /half$/);
    assert.equal(proxy.server.connection.isClosed, true);
    assert.deepEqual(proxy.heard, ['answered 200', 'over upstream_failed']);
  });
});

describe('an answer that is as good as none', () => {
  const answerBusy = async (end: FarEnd) => {
    await end.heads(1);
    end.socket.write(busy);
  };

  test('is thrown away, and the next one is given', async () => {
    await using proxy = setting(firstThen(answerBusy, 'hello'));
    await proxy.server.send(post('hello'));
    assert.match(proxy.server.answered, /^HTTP\/1\.1 200 OK/);
    assert.doesNotMatch(proxy.server.answered, /busy/);
    assert.deepEqual(proxy.heard, ['status 503', 'answered 200', 'over well']);
  });

  test('is given when no further attempt may be made', async () => {
    await using proxy = setting(answerBusy, 0);
    await proxy.server.send(post('hello'));
    assert.match(proxy.server.answered, /^HTTP\/1\.1 503 [\s\S]*busy$/);
    assert.deepEqual(proxy.heard, ['answered 503', 'over well']);
  });

  test('is followed by a pause, in which the client may leave', async () => {
    await using proxy = setting(firstThen(answerBusy, 'hello'), 1, 100);
    await proxy.server.send(post('hello'));
    await proxy.clock.advance(99);
    assert.equal(proxy.upstream.ends.length, 1);
    proxy.server.client.destroy();
    await proxy.server.settle();
    await proxy.clock.advance(1_000);
    assert.equal(proxy.upstream.ends.length, 1);
    assert.deepEqual(proxy.heard, ['status 503', 'over well']);
    assert.equal(proxy.clock.pendingTimers, 0);
  });

  test('is followed by another attempt after the pause', async () => {
    await using proxy = setting(firstThen(answerBusy, 'hello'), 1, 100);
    await proxy.server.send(post('hello'));
    await proxy.clock.advance(100);
    await proxy.server.settle();
    assert.match(proxy.server.answered, /^HTTP\/1\.1 200 OK/);
  });
});

test('a time-out that the client chose says nothing against the upstream', async () => {
  await using proxy = setting(async (end) => end.heads(1), 0);
  await proxy.server.send(
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\ngrpc-timeout: 5m\r\nContent-Length: 0\r\n\r\n',
  );
  await proxy.clock.advance(5);
  await proxy.server.settle();
  assert.match(proxy.server.answered, /grpc-status: 4\r\n/);
  assert.deepEqual(proxy.heard, ['over well']);
});
