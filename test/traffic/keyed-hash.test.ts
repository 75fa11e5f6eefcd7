import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyedHash } from '#traffic/keyed-hash.ts';

function hashOf(hash: KeyedHash, text: string, salt = 0): string {
  hash.hash(text, salt);
  return `${hash.low} ${hash.high}`;
}

test('texts, salts and keys that differ in one place have hashes of their own', () => {
  const hash = new KeyedHash(1, 2);
  const texts = ['', '\0', '\0\0', 'a', 'a\0', 'ab', 'ba', 'abc', '\u0161', 'aa', '\u6161'];
  const all = texts.flatMap((text) => [hashOf(hash, text), hashOf(hash, text, 1), hashOf(new KeyedHash(1, 3), text)]);
  assert.equal(new Set(all).size, all.length);
  assert.equal(hashOf(hash, 'ab'), hashOf(new KeyedHash(1, 2), 'ab'), 'the same key, the same hash');
});

test('a hundred thousand accounts in a row fall everywhere, and none with another', () => {
  const hash = new KeyedHash(7, 11);
  const buckets = new Uint32Array(1024);
  const seen = new Set<string>();
  for (let i = 0; i < 100_000; i++) {
    seen.add(hashOf(hash, `AC${i.toString(16).padStart(32, '0')}`));
    buckets[hash.low & 1023]!++;
  }
  assert.equal(seen.size, 100_000);
  // 98 each on average, ten is the standard deviation.
  assert.ok(
    Math.max(...buckets) < 150 && Math.min(...buckets) > 50,
    `${Math.min(...buckets)} to ${Math.max(...buckets)}`,
  );
});
