import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { DecisionBatch } from '#sidecar/thread-calls.ts';
import { batchesMax, WorkerDecisions } from '#sidecar/worker-decisions.ts';
import { FakeClock } from '../support/fake-clock.ts';

const batchLines = 256;

function decisions(send: (batch: DecisionBatch) => Promise<void>) {
  const clock = new FakeClock();
  return { clock, decisions: new WorkerDecisions({ clock, send }) };
}

describe('records of a thread', () => {
  test('go to the first thread together, in their order, each with what it is', async () => {
    const batches: DecisionBatch[] = [];
    const { clock, decisions: sink } = decisions(async (batch) => void batches.push(batch));
    sink.add('a', 'permit');
    sink.add('b', 'failure');
    assert.equal(batches.length, 0);
    await clock.advance(10);
    assert.deepEqual(batches, [{ lines: ['a', 'b'], kinds: ['permit', 'failure'] }]);
    for (let i = 0; i < batchLines; i++) sink.add('c', 'permit');
    assert.equal(batches[1]?.lines.length, batchLines);
  });

  test('are with the first thread when a flush is over', async () => {
    const taken = Promise.withResolvers<void>();
    const order: string[] = [];
    const { decisions: sink } = decisions(async () => {
      await taken.promise;
      order.push('taken');
    });
    sink.add('a', 'permit');
    const flushed = sink.flush().then(() => order.push('flushed'));
    taken.resolve();
    await flushed;
    assert.deepEqual(order, ['taken', 'flushed']);
  });

  test('are dropped and counted when the first thread is too far behind, and taken again when it is not', async () => {
    const takes: (() => void)[] = [];
    const { decisions: sink } = decisions(() => new Promise((resolve) => takes.push(resolve)));
    for (let i = 0; i < batchesMax * batchLines; i++) sink.add('a', 'permit');
    assert.deepEqual([takes.length, sink.dropped], [batchesMax, 0]);
    sink.add('a', 'permit');
    assert.equal(sink.dropped, 1);
    for (const take of takes.splice(0)) take();
    await sink.flush();
    sink.add('a', 'permit');
    assert.equal(sink.dropped, 1);
    assert.ok(sink.flush());
    assert.equal(takes.length, 1);
  });

  test('count as dropped when the first thread cannot take them', async () => {
    const { decisions: sink } = decisions(() => Promise.reject(new Error('gone')));
    sink.add('a', 'permit');
    sink.add('b', 'permit');
    await sink.flush();
    assert.equal(sink.dropped, 2);
  });
});
