import assert from 'node:assert/strict';
import { test } from 'node:test';
import { afterRead, hearRead } from '#net/after-read.ts';

const bytes = Buffer.from('read');

test('what a read puts off happens when it has been heard, once, and nothing of the next read', () => {
  const events: string[] = [];
  const hear = (name: string) =>
    hearRead((heard) => {
      afterRead({ readOver: () => void events.push(`after ${name}`) });
      events.push(`${name}: ${heard}`);
    }, bytes);
  hear('one');
  hear('two');
  assert.deepEqual(events, ['one: read', 'after one', 'two: read', 'after two']);
});

test('what is put off while a read ends, or outside of one, happens in the next tick', async () => {
  const events: string[] = [];
  const later = { readOver: () => void events.push('later') };
  hearRead(() => afterRead({ readOver: () => afterRead(later) }), bytes);
  assert.deepEqual(events, []);
  await new Promise(setImmediate);
  assert.deepEqual(events, ['later']);
  afterRead(later);
  assert.deepEqual(events, ['later']);
  await new Promise(setImmediate);
  assert.deepEqual(events, ['later', 'later']);
});

test('a listener that throws takes nothing away from what was put off', () => {
  let told = 0;
  const thrown = new Error('a fault');
  assert.throws(
    () =>
      hearRead(() => {
        afterRead({ readOver: () => void told++ });
        throw thrown;
      }, bytes),
    thrown,
  );
  assert.equal(told, 1);
});
