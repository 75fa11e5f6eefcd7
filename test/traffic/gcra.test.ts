import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { RateLimiter } from '#traffic/gcra.ts';
import { FakeClock } from '../support/fake-clock.ts';

const rate = { perMinute: 10, burst: 20 };

describe('a rate limiter', () => {
  test('lets a burst through, then one at a time, and says how long to wait', async () => {
    const clock = new FakeClock();
    const limiter = new RateLimiter(clock);
    for (let i = 0; i < 20; i++) assert.equal(limiter.take(rate, 'a'), 0, `number ${i}`);
    assert.equal(limiter.take(rate, 'a'), 6_000);
    await clock.advance(5_999);
    assert.equal(limiter.take(rate, 'a'), 1);
    await clock.advance(1);
    assert.equal(limiter.take(rate, 'a'), 0);
    assert.equal(limiter.take(rate, 'a'), 6_000);
  });

  test('counts each key by itself, and a refused event not at all', async () => {
    const clock = new FakeClock();
    const limiter = new RateLimiter(clock);
    for (let i = 0; i < 100; i++) limiter.take(rate, 'a');
    assert.equal(limiter.take(rate, 'b'), 0);
    await clock.advance(6_000);
    assert.equal(limiter.take(rate, 'a'), 0);
  });

  test('never lets more through in any time than burst and rate allow', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 600 }),
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 1, maxLength: 60 }),
        async (perMinute, burst, pauses) => {
          const clock = new FakeClock();
          const limiter = new RateLimiter(clock);
          const passed: number[] = [];
          for (const pause of pauses) {
            await clock.advance(pause);
            for (let i = 0; i < 5; i++)
              if (limiter.take({ perMinute, burst }, 'k') === 0) passed.push(clock.monotonic());
          }
          passed.forEach((from, first) => {
            passed.slice(first).forEach((to, index) => {
              assert.ok(index + 1 <= burst + ((to - from) * perMinute) / 60_000 + 1e-6);
            });
          });
        },
      ),
      { numRuns: 50 },
    );
  });

  test('remembers a bounded number of keys: those that are on schedule go first, then the oldest', async () => {
    const clock = new FakeClock();
    const limiter = new RateLimiter(clock, 3);
    for (const key of ['a', 'b', 'c']) limiter.take({ perMinute: 1, burst: 1 }, key);
    limiter.take({ perMinute: 1, burst: 1 }, 'd');
    assert.equal(limiter.size, 3);
    assert.equal(limiter.take({ perMinute: 1, burst: 1 }, 'a'), 0, 'the oldest was forgotten');
    await clock.advance(120_000);
    limiter.take({ perMinute: 1, burst: 1 }, 'e');
    assert.equal(limiter.size, 1);
  });

  test('does not look through all keys for each that is new', async () => {
    const clock = new FakeClock();
    const limiter = new RateLimiter(clock, 20_000);
    // A walk for each of them would be a billion steps.
    for (let i = 0; i < 80_000; i++) limiter.take(rate, String(i));
    assert.equal(limiter.size, 20_000);
  });
});
