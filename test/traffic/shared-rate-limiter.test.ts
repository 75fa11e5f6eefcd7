import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { systemRandom } from '#runtime/random.ts';
import { RateLimiter } from '#traffic/gcra.ts';
import { SharedRateLimiter, sharedRateLimiterMemory } from '#traffic/shared-rate-limiter.ts';
import { FakeClock } from '../support/fake-clock.ts';

const memoryFor = (keysMax?: number) => sharedRateLimiterMemory(systemRandom, keysMax);

describe('a rate limiter that threads share', () => {
  test('decides as the plain one does, whatever the rates, keys and pauses', async () => {
    // Intervals of binary fractions: both count them without rounding.
    const rates = [0.0625, 0.5, 1, 4, 64].flatMap((perSecond) => [1, 3, 20].map((burst) => ({ perSecond, burst })));
    const step = fc.record({
      rate: fc.nat(rates.length - 1),
      key: fc.constantFrom('a', 'b', 'ab', '', 'spiffe://cell/ns/a/sa/b', '\u{1F600}'),
      pauseMs: fc.oneof(fc.constant(0), fc.nat(100), fc.nat(60_000)),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 200 }), async (steps) => {
        const clock = new FakeClock();
        const model = new RateLimiter(clock);
        const memory = memoryFor();
        // Two views of the memory, as two threads have.
        const shared = [0, 1].map(() => new SharedRateLimiter({ memory, clock }));
        for (const [index, { rate, key, pauseMs }] of steps.entries()) {
          await clock.advance(pauseMs);
          const { perSecond, burst } = rates[rate]!;
          const limiter = shared[index % 2]!;
          const limit = limiter.limit(`limit ${rate}`, { perSecond, burst });
          const waitMs = limiter.waitMs(limit, key);
          assert.equal(waitMs, model.take({ perMinute: perSecond * 60, burst }, `${rate} ${key}`));
          if (waitMs === 0) limiter.take(limit, key);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('takes from several limits what all of them would let through, and from none otherwise', async () => {
    const clock = new FakeClock();
    const limiter = new SharedRateLimiter({ memory: memoryFor(), clock });
    const account = limiter.limit('account', { perSecond: 0.01, burst: 2 });
    const rule = limiter.limit('rule', { perSecond: 10, burst: 3 });
    const ask = (name: string) => {
      const waitMs = Math.max(limiter.waitMs(account, name), limiter.waitMs(rule, ''));
      if (waitMs > 0) return waitMs;
      limiter.take(account, name);
      limiter.take(rule, '');
      return 0;
    };
    assert.deepEqual([ask('a'), ask('a'), ask('a')], [0, 0, 100_000]);
    assert.equal(ask('b'), 0, 'what was refused was taken from nothing');
    assert.equal(ask('b'), 100);
    await clock.advance(100);
    assert.equal(ask('b'), 0);
  });

  test('owes what was taken beyond the limit', async () => {
    const clock = new FakeClock();
    const limiter = new SharedRateLimiter({ memory: memoryFor(), clock });
    const limit = limiter.limit('a', { perSecond: 1, burst: 1 });
    for (let i = 0; i < 3; i++) limiter.take(limit, 'key');
    assert.equal(limiter.waitMs(limit, 'key'), 3_000);
  });

  test('remembers a bounded number of keys: those whose time has passed go first, then those whose time is nearest', async () => {
    const clock = new FakeClock();
    const memory = memoryFor(16);
    assert.ok(memory.byteLength < 400);
    const limiter = new SharedRateLimiter({ memory, clock });
    const slow = limiter.limit('slow', { perSecond: 0.001, burst: 1 });
    const quick = limiter.limit('quick', { perSecond: 1, burst: 1 });
    limiter.take(slow, 'kept');
    // Far more than there is room for: each is sooner on schedule than the one that must stay.
    for (let i = 0; i < 1_000; i++) limiter.take(quick, String(i));
    assert.equal(limiter.waitMs(slow, 'kept'), 1_000_000);
    const remembered = () =>
      Array.from({ length: 1_000 }, (_, i) => limiter.waitMs(quick, String(i))).filter((ms) => ms > 0);
    assert.ok(remembered().length <= 15 && remembered().length > 8, String(remembered().length));
    await clock.advance(2_000);
    for (let i = 0; i < 4; i++) limiter.take(slow, `more ${i}`);
    assert.equal(limiter.waitMs(slow, 'kept'), 998_000);
  });

  test('a set that a stopped thread left locked is used all the same', () => {
    const clock = new FakeClock();
    const memory = memoryFor(16);
    const limiter = new SharedRateLimiter({ memory, clock });
    const limit = limiter.limit('a', { perSecond: 1, burst: 1 });
    const words = new Int32Array(memory);
    const header = 4;
    for (let set = 0; set < 2; set++) words[header + set] = 1;
    limiter.take(limit, 'key');
    assert.equal(limiter.waitMs(limit, 'key'), 1_000);
  });
});

interface Count {
  readonly admitted: number;
  readonly fromMs: number;
  readonly toMs: number;
}

/** Threads that do nothing but ask, of which each says how often it was let through in `forMs`. */
async function admittedBy(
  threads: number,
  rate: { perSecond: number; burst: number },
  forMs: number,
): Promise<Count[]> {
  const memory = memoryFor();
  const start = new SharedArrayBuffer(4);
  const workerData = { memory, start, threads, rate, forMs };
  const workers = Array.from(
    { length: threads },
    () => new Worker(new URL('../support/rate-limited-thread.ts', import.meta.url), { workerData }),
  );
  return Promise.all(workers.map(async (worker) => ((await once(worker, 'message')) as [Count])[0]));
}

describe('threads together', () => {
  for (const rate of [
    { perSecond: 200, burst: 50 },
    { perSecond: 20_000, burst: 1 },
    { perSecond: 0.01, burst: 1_000 },
  ]) {
    test(`let through what one would: ${rate.perSecond} a second, ${rate.burst} at once`, {
      timeout: 20_000,
    }, async () => {
      const threads = 4;
      const counts = await admittedBy(threads, rate, 500);
      const admitted = counts.reduce((sum, one) => sum + one.admitted, 0);
      const seconds =
        (Math.max(...counts.map(({ toMs }) => toMs)) - Math.min(...counts.map(({ fromMs }) => fromMs))) / 1000;
      const most = rate.burst + rate.perSecond * seconds;
      assert.ok(admitted <= most + threads, `${admitted} in ${seconds} s, ${most} are allowed`);
      // They ask without a pause: nothing that was due is left over, but for what a thread that was kept waiting missed.
      assert.ok(admitted >= Math.min(rate.burst, most * 0.5), `only ${admitted} in ${seconds} s`);
    });
  }
});
