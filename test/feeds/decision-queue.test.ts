import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecisionQueue, waitingRecordsMax } from '#feeds/decision-queue.ts';
import type { DecisionKind } from '#feeds/decision-sinks.ts';

const kinds = fc.constantFrom<DecisionKind>('failure', 'sighting', 'permit');
const record = fc.tuple(fc.string({ unit: 'grapheme' }), kinds);
const step = fc.oneof(record, fc.nat(5));

describe('a queue of decisions', () => {
  test('gives back what it took, oldest first', () => {
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const queue = new DecisionQueue();
        const expected: string[] = [];
        for (const one of steps) {
          if (typeof one === 'number') assert.deepEqual(queue.take(one), expected.splice(0, one));
          else {
            assert.equal(queue.add(...one), false);
            expected.push(one[0]);
          }
          assert.equal(queue.length, expected.length);
        }
        assert.deepEqual(queue.take(Number.POSITIVE_INFINITY), expected);
      }),
    );
  });

  test('has room for more by leaving failures first, then permits, then sightings, the oldest of each', () => {
    for (const { has, leave, dropped } of [
      { has: { failure: 600, permit: 400 }, leave: { failure: 500 }, dropped: 0 },
      { has: { failure: 200, permit: 400 }, leave: { failure: 200, permit: 300 }, dropped: 300 },
      { has: { permit: 100 }, leave: { permit: 100, sighting: 400 }, dropped: 500 },
    ] as readonly { has: Counts; leave: Counts; dropped: number }[]) {
      const queue = new DecisionQueue();
      const all = records({ sighting: waitingRecordsMax - sum(has), ...has });
      for (const { text, kind } of all) assert.equal(queue.add(text, kind), false);

      assert.equal(queue.add('one more', 'permit'), leave.failure !== undefined);
      assert.equal(queue.dropped, dropped);
      const stay = all.filter(({ kind, number }) => number >= (leave[kind] ?? 0)).map(({ text }) => text);
      assert.deepEqual(queue.take(Number.POSITIVE_INFINITY), [...stay, 'one more']);
    }
  });
});

type Counts = Partial<Record<DecisionKind, number>>;

function sum(counts: Counts): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

/** So many of each kind, numbered, the kinds taking turns. */
function records(counts: Counts): { readonly text: string; readonly kind: DecisionKind; readonly number: number }[] {
  return Object.entries(counts)
    .flatMap(([kind, count]) => Array.from({ length: count }, (_, number) => ({ kind: kind as DecisionKind, number })))
    .sort((a, b) => a.number - b.number)
    .map(({ kind, number }) => ({ kind, number, text: `${kind} ${'é'.repeat(number % 7)} ${number}` }));
}
