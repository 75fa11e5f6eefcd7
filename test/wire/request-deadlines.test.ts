import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { requestDeadlines } from '#wire/request-deadlines.ts';
import { FakeClock } from '../support/fake-clock.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

describe('the deadlines of requests', () => {
  test('come in the order of their times, each once, by one timer', async () => {
    const clock = new FakeClock();
    const deadlines = requestDeadlines(clock);
    const over: number[] = [];
    for (const ms of [50, 20, 80, 35, 50]) deadlines.set(ms, { timeIsUp: () => over.push(ms) });
    assert.equal(clock.pendingTimers, 1);
    await clock.advance(19);
    assert.deepEqual(over, []);
    await clock.advance(32);
    assert.deepEqual(over, [20, 35, 50, 50]);
    await clock.advance(1_000);
    assert.deepEqual(over, [20, 35, 50, 50, 80]);
    assert.equal(clock.pendingTimers, 0);
  });

  test('do not come once cancelled, also by the owner of another of the same moment, and others still do', async () => {
    const clock = new FakeClock();
    const deadlines = requestDeadlines(clock);
    const over: string[] = [];
    const add = (name: string, ms: number, then = () => {}) => {
      const timeIsUp = () => {
        over.push(name);
        then();
      };
      return deadlines.set(ms, { timeIsUp });
    };
    const gone = ['a', 'b', 'c'].map((name) => add(name, 10));
    add('d', 9, () => gone[2]!.cancel());
    add('e', 30);
    gone[0]!.cancel();
    gone[1]!.cancel();
    gone[1]!.cancel();
    await clock.advance(10);
    assert.deepEqual(over, ['d']);
    add('f', 5);
    await clock.advance(1_000);
    assert.deepEqual(over, ['d', 'f', 'e']);
  });

  test('one that was cancelled keeps none alive that came after or before it', async () => {
    const deadlines = requestDeadlines(new FakeClock());
    const owner = { timeIsUp() {} };
    const set = () => deadlines.set(1_000, owner);
    const others = (() => {
      const [before, held, after] = [set(), set(), set()];
      for (const one of [held, before, after]) one.cancel();
      return { held, gone: [new WeakRef(before), new WeakRef(after)] };
    })();
    // What a WeakRef was made of lives until the turn is over.
    await new Promise(setImmediate);
    collect();
    assert.deepEqual(
      others.gone.map((one) => one.deref()),
      [undefined, undefined],
    );
    others.held.cancel();
  });
});
