import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { OpenListeners } from '#sidecar/open-listeners.ts';

function listener(port: number, connections: number, streams: number) {
  const closed: (number | 'disposed')[] = [];
  return {
    closed,
    address: { port },
    connections,
    streams,
    async close(graceMs: number) {
      closed.push(graceMs);
    },
    async [Symbol.asyncDispose]() {
      closed.push('disposed');
    },
  };
}

describe('the open listeners of a thread', () => {
  test('count what they hold, each side by itself', async () => {
    await using listeners = new OpenListeners();
    listeners.add(listener(1, 2, 10), 'mesh');
    listeners.add(listener(2, 3, 20), 'application');
    listeners.add(listener(3, 4, 30), 'application');
    const sums = [listeners.sum('mesh', 'connections'), listeners.sum('application', 'connections')];
    assert.deepEqual([...sums, listeners.sum('application', 'streams')], [2, 7, 50]);
  });

  test('are let go of when they close, so that ports which come and go leave nothing behind', async () => {
    const listeners = new OpenListeners();
    const [first, second] = [listener(1, 2, 0), listener(2, 3, 0)];
    const open = listeners.add(first, 'application');
    listeners.add(second, 'application');
    assert.equal(open.port, 1);
    await open.close(500);
    assert.equal(listeners.sum('application', 'connections'), 3);
    await listeners[Symbol.asyncDispose]();
    assert.deepEqual([first.closed, second.closed], [[500], ['disposed']]);
  });
});
