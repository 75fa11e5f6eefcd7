import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { CellmeshError } from '#runtime/errors.ts';
import { ThreadChannel } from '#runtime/thread-channel.ts';

type Calls = {
  double(value: number): number;
  fail(error: 'typed' | 'plain'): void;
  slow(nothing: undefined): Promise<void>;
};

interface Pair extends Disposable {
  readonly channel: ThreadChannel<Calls>;
  readonly begun: string[];
  readonly release: () => void;
}

/** Both ends in one thread: what passes between is structured clone all the same. */
function pair(): Pair {
  const { port1, port2 } = new MessageChannel();
  const begun: string[] = [];
  const gate = Promise.withResolvers<void>();
  new ThreadChannel(port2 satisfies MessagePort, {
    double(value: number) {
      begun.push(`double ${value}`);
      return 2 * value;
    },
    fail(error: 'typed' | 'plain') {
      throw error === 'typed' ? new CellmeshError('port_taken', 'it is taken') : new TypeError('a mistake');
    },
    slow() {
      begun.push('slow');
      return gate.promise;
    },
  });
  return {
    channel: new ThreadChannel<Calls>(port1, {}),
    begun,
    release: () => gate.resolve(),
    [Symbol.dispose]: () => port1.close(),
  };
}

describe('a call to another thread', () => {
  test('is answered, whichever of them is answered first; all are begun in their order', async () => {
    using threads = pair();
    const slow = threads.channel.call('slow', undefined);
    assert.equal(await threads.channel.call('double', 2), 4);
    assert.deepEqual(threads.begun, ['slow', 'double 2']);
    threads.release();
    await slow;
  });

  test('fails as it failed there, with its code where it has one', async () => {
    using threads = pair();
    await assert.rejects(threads.channel.call('fail', 'typed'), { code: 'port_taken', message: 'it is taken' });
    await assert.rejects(threads.channel.call('fail', 'plain'), /^Error: a mistake$/);
  });

  test('fails when the other thread is gone before it answers, and from then on at once', async () => {
    using threads = pair();
    const slow = threads.channel.call('slow', undefined);
    threads.channel.close(new Error('the thread has ended'));
    await assert.rejects(slow, /the thread has ended/);
    await assert.rejects(threads.channel.call('double', 2), /the thread has ended/);
  });
});
