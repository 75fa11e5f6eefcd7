import assert from 'node:assert/strict';
import { test } from 'node:test';
import { queryObjects } from 'node:v8';
import { systemClock } from '#runtime/clock.ts';

test('a timer that is cancelled leaves nothing behind', () => {
  const lone = setTimeout(() => {}, 7_654_321) as unknown as { readonly _idleNext: object };
  const listOfTimers = lone._idleNext.constructor;
  clearTimeout(lone as unknown as NodeJS.Timeout);
  const count = () => queryObjects(listOfTimers as () => void, { format: 'count' }) as unknown as number;
  const before = count();
  for (let i = 0; i < 1_000; i++) systemClock.schedule(40_000_000 + i, () => {}).cancel();
  assert.ok(count() - before < 100, `${count() - before} lists more`);
});
