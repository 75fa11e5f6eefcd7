import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Lifecycle } from '#runtime/lifecycle.ts';
import { silentLogger } from '#runtime/logger.ts';
import { WatchSource } from '#runtime/watch.ts';

describe('a lifecycle', () => {
  function recorded(names: readonly string[], failing: Partial<Record<string, Error>> = {}) {
    const steps: string[] = [];
    const lifecycle = new Lifecycle(silentLogger);
    const step = (text: string) => async () => {
      steps.push(text);
      const error = failing[text];
      if (error !== undefined) throw error;
    };
    for (const name of names) {
      lifecycle.add({
        name,
        start: step(`start ${name}`),
        drain: step(`drain ${name}`),
        stop: step(`stop ${name}`),
      });
    }
    return { lifecycle, steps };
  }

  test('starts in order; drains everything, then stops it, in the opposite one', async () => {
    const { lifecycle, steps } = recorded(['a', 'b']);
    await lifecycle.start();
    assert.equal(lifecycle.phase.current.tag, 'serving');
    await Promise.all([lifecycle.stop(), lifecycle.stop()]);
    assert.deepEqual(steps, ['start a', 'start b', 'drain b', 'drain a', 'stop b', 'stop a']);
    assert.equal(lifecycle.phase.current.tag, 'stopped');
  });

  test('names the part that does not start, and stops those before it', async () => {
    const { lifecycle, steps } = recorded(['a', 'b', 'c'], { 'start b': new Error('no disk') });
    await assert.rejects(lifecycle.start(), { code: 'start_failed', message: 'b did not start: no disk' });
    assert.deepEqual(steps, ['start a', 'start b', 'drain a', 'stop a']);
  });

  test('goes on stopping when a part does not end cleanly', async () => {
    const { lifecycle, steps } = recorded(['a', 'b'], { 'drain b': new Error('stuck'), 'stop b': new Error('stuck') });
    await lifecycle.start();
    await lifecycle.stop();
    assert.deepEqual(steps.slice(2), ['drain b', 'drain a', 'stop b', 'stop a']);
  });

  test('is ready when everything has started and no condition is left', async () => {
    const { lifecycle } = recorded(['a']);
    lifecycle.setCondition('svid', 'not joined yet');
    assert.deepEqual(lifecycle.notReady(), ['starting', 'svid: not joined yet']);
    await lifecycle.start();
    assert.deepEqual(lifecycle.notReady(), ['svid: not joined yet']);
    lifecycle.clearCondition('svid');
    assert.deepEqual(lifecycle.notReady(), []);
    await lifecycle.stop();
    assert.deepEqual(lifecycle.notReady(), ['stopped']);
  });
});

describe('a watch', () => {
  test('has a current value, and tells later ones until somebody has heard enough', () => {
    const watch = new WatchSource(1);
    const heard: number[] = [];
    const end = watch.subscribe((value) => heard.push(value));
    watch.set(2);
    end();
    watch.set(3);
    assert.equal(watch.current, 3);
    assert.deepEqual(heard, [2]);
  });

  test('tells everybody, whoever unsubscribes while it does', () => {
    const watch = new WatchSource(0);
    const heard: string[] = [];
    const end = watch.subscribe(() => {
      heard.push('first');
      end();
    });
    watch.subscribe(() => heard.push('second'));
    watch.set(1);
    watch.set(2);
    assert.deepEqual(heard, ['first', 'second', 'second']);
  });
});
