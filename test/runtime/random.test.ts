import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemRandom } from '#runtime/random.ts';

test('random bytes are as many as were asked for, and never the same twice', () => {
  const seen = new Set<string>();
  for (let i = 0; i < 10_000; i++) {
    const bytes = systemRandom.bytes(16);
    assert.equal(bytes.length, 16);
    seen.add(bytes.toString('hex'));
  }
  assert.equal(seen.size, 10_000);
  for (const count of [0, 1, 255, 256, 257, 4096, 10_000]) assert.equal(systemRandom.bytes(count).length, count);
});

test('what was given stays as it is, whatever is asked for later', () => {
  const first = systemRandom.bytes(32);
  const copy = Buffer.from(first);
  for (let i = 0; i < 1_000; i++) systemRandom.bytes(32);
  assert.ok(first.equals(copy) && !first.equals(Buffer.alloc(32)));
});

test('a fraction lies in [0, 1), evenly', () => {
  const counts = new Array<number>(10).fill(0);
  for (let i = 0; i < 100_000; i++) counts[Math.floor(systemRandom.fraction() * 10)]!++;
  assert.equal(counts.length, 10);
  for (const count of counts) assert.ok(count > 9_000 && count < 11_000, String(counts));
});
