import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UpstreamPool } from '#wire/upstream-pool.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { ClientRecorder, outgoing } from './support/client-recorder.ts';
import { turn } from './support/memory-proxy.ts';
import { type FarEnd, memoryUpstream } from './support/memory-upstream.ts';

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Answers every request on every connection. */
async function answerAll(end: FarEnd, _index: number, response = ok): Promise<void> {
  for (let count = 1; !end.socket.destroyed; count++) {
    await end.heads(count);
    end.socket.write(response);
  }
}

async function send(pool: UpstreamPool, upstream: ReturnType<typeof memoryUpstream>, method = 'GET') {
  const recorder = new ClientRecorder();
  pool.request(upstream, outgoing(method), recorder);
  return recorder.done;
}

test('requests one after the other share a connection', async () => {
  await using pool = new UpstreamPool({ clock: new FakeClock() });
  const upstream = memoryUpstream(answerAll);
  for (let i = 0; i < 5; i++) assert.equal((await send(pool, upstream)).body, 'ok');
  assert.equal(upstream.ends.length, 1);
});

test('a connection is not used after its idle time, and closes', async () => {
  const clock = new FakeClock();
  await using pool = new UpstreamPool({ clock });
  const upstream = memoryUpstream(answerAll);
  await send(pool, upstream);
  await clock.advance(3_999);
  await send(pool, upstream);
  assert.equal(upstream.ends.length, 1);
  await clock.advance(4_000);
  assert.equal(pool.load('memory').idle, 0);
  await send(pool, upstream);
  assert.equal(upstream.ends.length, 2);
});

test('a connection that was made to learn what the upstream speaks carries the request, however long the clock has run', async () => {
  const clock = new FakeClock();
  await clock.advance(3_600_000);
  await using pool = new UpstreamPool({ clock });
  const upstream = { ...memoryUpstream(answerAll), protocol: 'negotiated' } as const;
  assert.equal((await send(pool, upstream)).body, 'ok');
  assert.equal(upstream.ends.length, 1);
});

test('Keep-Alive: timeout of the upstream lowers the idle time, one second below', async () => {
  const clock = new FakeClock();
  await using pool = new UpstreamPool({ clock });
  const upstream = memoryUpstream((end, index) =>
    answerAll(end, index, ok.replace('OK\r\n', 'OK\r\nKeep-Alive: timeout=3, max=9\r\n')),
  );
  await send(pool, upstream);
  await clock.advance(1_999);
  await send(pool, upstream);
  assert.equal(upstream.ends.length, 1);
  await clock.advance(2_000);
  await send(pool, upstream);
  assert.equal(upstream.ends.length, 2);
});

test('Keep-Alive: timeout=1 means no reuse', async () => {
  await using pool = new UpstreamPool({ clock: new FakeClock() });
  const upstream = memoryUpstream((end, index) =>
    answerAll(end, index, ok.replace('OK\r\n', 'OK\r\nKeep-Alive: timeout=1\r\n')),
  );
  await send(pool, upstream);
  await send(pool, upstream);
  assert.equal(upstream.ends.length, 2);
});

/** Serves one request; a second one on the same connection finds it closing, before or after its bytes arrive. */
function racing(): ReturnType<typeof memoryUpstream> {
  return memoryUpstream(async (end, index) => {
    if (index > 0) return answerAll(end, index);
    await end.heads(1);
    end.socket.write(ok);
    await end.heads(2);
    end.socket.destroy();
  });
}

for (const method of ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']) {
  test(`${method} that meets a closing connection is sent once more on a new one`, async () => {
    await using pool = new UpstreamPool({ clock: new FakeClock() });
    const upstream = racing();
    await send(pool, upstream);
    const { status, error } = await send(pool, upstream, method);
    assert.equal(error, undefined);
    assert.equal(status, 200);
    assert.equal(upstream.ends.length, 2);
    assert.deepEqual(pool.load('memory').inFlight, 0);
  });
}

test('POST that meets a closing connection fails and names the likely cause', async () => {
  await using pool = new UpstreamPool({ clock: new FakeClock() });
  const upstream = racing();
  await send(pool, upstream);
  const { error } = await send(pool, upstream, 'POST');
  assert.equal(error?.code, 'upstream_failed');
  assert.equal(error?.status, 502);
  assert.match(error?.message ?? '', /keep-alive time may be below/);
  assert.equal(upstream.ends.length, 1);
});

test('PUT with a body is not replayed', async () => {
  await using pool = new UpstreamPool({ clock: new FakeClock() });
  const upstream = racing();
  await send(pool, upstream);
  const recorder = new ClientRecorder(['abc']);
  pool.request(upstream, outgoing('PUT', { framing: 'length', contentLength: 3 }), recorder);
  assert.equal((await recorder.done).error?.code, 'upstream_failed');
});

test('a request is replayed once only, and never from a fresh connection', async () => {
  await using pool = new UpstreamPool({ clock: new FakeClock() });
  const upstream = memoryUpstream(async (end, index) => {
    await end.heads(1);
    if (index > 0) return void end.socket.destroy();
    end.socket.write(ok);
    await end.heads(2);
    end.socket.destroy();
  });
  await send(pool, upstream);
  assert.equal((await send(pool, upstream)).error?.code, 'upstream_failed');
  assert.equal(upstream.ends.length, 2);
  assert.equal((await send(pool, upstream)).error?.code, 'upstream_failed');
  assert.equal(upstream.ends.length, 3);
});

test('a connection that closed after part of a response is not replayed', async () => {
  await using pool = new UpstreamPool({ clock: new FakeClock() });
  const upstream = memoryUpstream(async (end) => {
    await end.heads(1);
    end.socket.write(ok);
    await end.heads(2);
    end.socket.write('HTTP/1.1 2');
    await turn();
    end.socket.destroy();
  });
  await send(pool, upstream);
  assert.match((await send(pool, upstream)).error?.message ?? '', /in the midst/);
  assert.equal(upstream.ends.length, 1);
});

test('bytes on an idle connection end it', async () => {
  await using pool = new UpstreamPool({ clock: new FakeClock() });
  const upstream = memoryUpstream(answerAll);
  await send(pool, upstream);
  upstream.ends[0]!.socket.write(ok);
  for (let i = 0; i < 3; i++) await turn();
  assert.equal(pool.load('memory').idle, 0);
  assert.equal((await send(pool, upstream)).body, 'ok');
  assert.equal(upstream.ends.length, 2);
});

test('an early response while the request body is unsent costs the connection', async () => {
  await using pool = new UpstreamPool({ clock: new FakeClock() });
  const upstream = memoryUpstream(answerAll);
  const recorder = new ClientRecorder(null);
  pool.request(upstream, outgoing('POST', { framing: 'chunked' }), recorder);
  assert.equal((await recorder.done).status, 200);
  assert.equal(pool.load('memory').idle, 0);
});

test('64 requests are in flight, as many wait, one more is refused with 503', async () => {
  await using pool = new UpstreamPool({ clock: new FakeClock(), pool: { inFlightMax: 64, queueMax: 64 } });
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const upstream = memoryUpstream(async (end, index) => {
    await opened;
    await answerAll(end, index);
  });
  const sent = Array.from({ length: 129 }, () => send(pool, upstream));
  const last = await sent[128]!;
  assert.equal(last.error?.code, 'upstream_overloaded');
  assert.equal(last.error?.status, 503);
  assert.deepEqual(pool.load('memory'), { inFlight: 64, idle: 0, queued: 64 });
  await turn();
  open();
  for (const response of await Promise.all(sent.slice(0, 128))) assert.equal(response.body, 'ok');
  assert.equal(upstream.ends.length, 64);
  assert.equal(pool.load('memory').queued, 0);
});

test('a request that waits too long for a place is refused with 503', async () => {
  const clock = new FakeClock();
  await using pool = new UpstreamPool({ clock, pool: { inFlightMax: 1, queueMs: 1_000 } });
  const upstream = memoryUpstream(() => {});
  void send(pool, upstream);
  await clock.advance(500);
  const second = send(pool, upstream);
  await clock.advance(999);
  assert.equal(pool.load('memory').queued, 1);
  const third = send(pool, upstream);
  await clock.advance(1);
  assert.equal((await second).error?.code, 'upstream_overloaded');
  assert.equal(pool.load('memory').queued, 1);
  await clock.advance(1_000);
  assert.equal((await third).error?.status, 503);
});

test('an upstream that does not answer in time: 504, and the connection is gone', async () => {
  const clock = new FakeClock();
  await using pool = new UpstreamPool({ clock, pool: { responseHeadMs: 1_000 } });
  const upstream = memoryUpstream(() => {});
  const sent = send(pool, upstream);
  await clock.advance(999);
  assert.equal(pool.load('memory').inFlight, 1);
  await clock.advance(1);
  assert.equal((await sent).error?.code, 'upstream_timeout');
  assert.equal((await sent).error?.status, 504);
  assert.deepEqual(pool.load('memory'), { inFlight: 0, idle: 0, queued: 0 });
});

test('a connection that does not open in time: 504; one that is refused: 503', async () => {
  const clock = new FakeClock();
  await using pool = new UpstreamPool({ clock, pool: { connectMs: 1_000 } });
  const never = { key: 'never', connect: () => new Promise<never>(() => {}) };
  const sent = send(pool, never as never);
  await clock.advance(1_000);
  assert.equal((await sent).error?.status, 504);
  const refusing = { key: 'refusing', connect: () => Promise.reject(new Error('ECONNREFUSED')) };
  const { error } = await send(pool, refusing as never);
  assert.equal(error?.code, 'upstream_unreachable');
  assert.equal(error?.status, 503);
  assert.match(error?.message ?? '', /ECONNREFUSED/);
  assert.deepEqual(pool.keys, []);
});

test('a response that falls silent in its midst fails', async () => {
  const clock = new FakeClock();
  await using pool = new UpstreamPool({ clock, pool: { responseIdleMs: 1_000 } });
  const upstream = memoryUpstream(async (end) => {
    await end.heads(1);
    end.socket.write(ok.slice(0, -1));
  });
  const sent = send(pool, upstream);
  await clock.advance(999);
  assert.equal(pool.load('memory').inFlight, 1);
  await clock.advance(2);
  assert.equal((await sent).error?.code, 'upstream_timeout');
});

test('an aborted request closes its connection and frees its place', async () => {
  await using pool = new UpstreamPool({ clock: new FakeClock(), pool: { inFlightMax: 1 } });
  const upstream = memoryUpstream((end, index) => (index === 0 ? undefined : answerAll(end, index)));
  const recorder = new ClientRecorder();
  const first = pool.request(upstream, outgoing('GET'), recorder);
  await turn();
  const second = send(pool, upstream);
  first.abort();
  assert.equal((await second).body, 'ok');
  await turn();
  assert.equal(upstream.ends[0]!.socket.readableEnded || upstream.ends[0]!.socket.destroyed, true);
});

test('a request given up while it waits or connects leaves nothing behind', async () => {
  await using pool = new UpstreamPool({ clock: new FakeClock(), pool: { inFlightMax: 1 } });
  const upstream = memoryUpstream(answerAll);
  const first = pool.request(upstream, outgoing('GET'), new ClientRecorder());
  const second = pool.request(upstream, outgoing('GET'), new ClientRecorder());
  second.abort();
  first.abort();
  await turn();
  assert.deepEqual(pool.load('memory'), { inFlight: 0, idle: 1, queued: 0 });
  assert.equal((await send(pool, upstream)).body, 'ok');
  assert.equal(upstream.ends.length, 1);
});

test('an evicted upstream is connected anew; what is in flight ends first', async () => {
  await using pool = new UpstreamPool({ clock: new FakeClock() });
  const upstream = memoryUpstream(answerAll);
  await send(pool, upstream);
  const inFlight = send(pool, upstream);
  pool.evict('memory');
  assert.equal((await inFlight).body, 'ok');
  assert.equal((await send(pool, upstream)).body, 'ok');
  assert.equal(upstream.ends.length, 2);
});

test('closing the pool fails what is in flight, waiting or connecting', async () => {
  const clock = new FakeClock();
  const pool = new UpstreamPool({ clock, pool: { inFlightMax: 2 } });
  const upstream = memoryUpstream(() => {});
  const sent = [send(pool, upstream)];
  await turn();
  sent.push(send(pool, upstream), send(pool, upstream));
  await pool[Symbol.asyncDispose]();
  for (const { error } of await Promise.all(sent)) assert.equal(error?.code, 'upstream_failed');
  assert.equal(clock.pendingTimers, 0);
});
