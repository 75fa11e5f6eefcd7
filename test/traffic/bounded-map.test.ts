import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BoundedMap } from '#traffic/bounded-map.ts';

test('a bounded map holds as many as it may, and loses the one that was used longest ago', () => {
  const map = new BoundedMap<string, number>(3);
  for (const [index, key] of ['a', 'b', 'c'].entries()) map.set(key, index);
  assert.equal(map.size, 3);
  assert.equal(map.get('a'), 0);
  map.set('d', 3);
  assert.equal(map.size, 3);
  assert.equal(map.get('b'), undefined);
  assert.deepEqual(
    [...map.entries()].map(([key]) => key),
    ['c', 'a', 'd'],
  );
});

test('writing a key again makes it young and takes no place of another', () => {
  const map = new BoundedMap<string, number>(2);
  map.set('a', 1);
  map.set('b', 2);
  map.set('a', 3);
  map.set('c', 4);
  assert.equal(map.get('a'), 3);
  assert.equal(map.get('b'), undefined);
  map.delete('a');
  assert.equal(map.size, 1);
});
