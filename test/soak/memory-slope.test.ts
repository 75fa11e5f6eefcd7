import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { slopeOf } from './memory-slope.ts';

const line = (megabytesPerHour: number, noise: (i: number) => number) =>
  Array.from({ length: 60 }, (_, i) => ({ hours: i / 120, megabytes: 25 + (megabytesPerHour * i) / 120 + noise(i) }));

describe('the slope of memory', () => {
  test('of a straight line is the line', () => {
    const slope = slopeOf(line(6, () => 0));
    assert.ok(Math.abs(slope.megabytesPerHour - 6) < 1e-9);
    assert.ok(slope.plusMinus < 1e-6);
    assert.ok(slope.rSquared > 0.999_999);
  });

  test('of noise is within its own interval, and explains nothing', () => {
    const { megabytesPerHour, plusMinus, rSquared } = slopeOf(line(0, (i) => (i % 2) - 0.5));
    assert.ok(Math.abs(megabytesPerHour) < plusMinus, `${megabytesPerHour} ± ${plusMinus}`);
    assert.ok(rSquared < 0.05, `${rSquared}`);
  });

  test('of a leak stands out from noise that is larger than what half a minute leaks', () => {
    const { megabytesPerHour, plusMinus } = slopeOf(line(12, (i) => (i % 2) - 0.5));
    assert.ok(megabytesPerHour - plusMinus > 5, `${megabytesPerHour} ± ${plusMinus}`);
  });

  test('of two points has no interval', () => {
    assert.equal(slopeOf(line(1, () => 0).slice(0, 2)).plusMinus, Number.POSITIVE_INFINITY);
  });
});
