import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DecisionStamps } from '#policy/decision-stamps.ts';
import { systemRandom } from '#runtime/random.ts';
import { FakeClock } from '../support/fake-clock.ts';

const start = Date.parse('2026-12-31T23:59:57.990Z');

test('a stamp has the time as ISO 8601 writes it, with its milliseconds', () => {
  const clock = new FakeClock(start);
  const stamps = new DecisionStamps('a', clock, systemRandom);
  for (const afterMs of [0, 1, 9, 10, 999, 1000, 1001, 2009, 2010, 2110, 0, -60_000, -1]) {
    assert.equal(stamps.next(start + afterMs).time, new Date(start + afterMs).toISOString());
  }
  assert.equal(stamps.next().time, new Date(start).toISOString());
});

test('the time in an id has nine digits of base 36', () => {
  const stamps = new DecisionStamps('a', new FakeClock(start), systemRandom);
  for (const at of [
    0,
    1,
    35,
    36,
    46_655,
    46_656,
    36 ** 5 - 1,
    36 ** 5,
    36 ** 5 + 1,
    start,
    start + 46_656,
    start + 1,
  ]) {
    assert.equal(stamps.next(at).id.slice(2, 11), at.toString(36).padStart(9, '0'));
  }
});

test('ids of one millisecond differ and follow each other, also beyond the last number of their sequence', () => {
  const stamps = new DecisionStamps('a', new FakeClock(start), systemRandom);
  const ids = Array.from({ length: 36 ** 3 + 40 }, () => stamps.next().id);
  const sequence = (id: string) => id.slice('a.'.length + start.toString(36).padStart(9, '0').length, -6);
  assert.equal(new Set(ids).size, ids.length);
  for (const [n, id] of ids.entries()) {
    assert.ok(id.startsWith(`a.${start.toString(36).padStart(9, '0')}`), id);
    assert.match(id, /^a\.[0-9a-z]{18}$/);
    assert.equal(Number.parseInt(sequence(id), 36), (n + 1) % 36 ** 3);
  }
});
