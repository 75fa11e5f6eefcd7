import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DecisionStore, decisionMigration } from '#feeds/decision-store.ts';
import { openDatabase } from '#runtime/sqlite.ts';
import { FakeClock } from '../support/fake-clock.ts';

function setting(retention: { ageMsMax: number; recordsMax: number }) {
  const clock = new FakeClock();
  const database = openDatabase({ file: ':memory:', application: 'x', migrations: [decisionMigration] });
  const store = new DecisionStore(database, { clock, retention });
  const add = (...ids: string[]) =>
    store.add(ids.map((id) => ({ id, timeMs: clock.now(), isDenial: false, record: `{"id":"${id}"}` })));
  return { clock, store, add };
}

test('a decision is found by its id; one that comes twice is stored once', () => {
  const { store, add } = setting({ ageMsMax: 1_000, recordsMax: 10 });
  add('a', 'b', 'a');
  add('b');
  assert.equal(store.count(), 2);
  assert.equal(store.find('a'), '{"id":"a"}');
  assert.equal(store.find('c'), undefined);
  store[Symbol.dispose]();
});

test('decisions are kept for their time, and no more of them than fit', async () => {
  const { clock, store, add } = setting({ ageMsMax: 3 * 60_000, recordsMax: 3 });
  add('a', 'b', 'c', 'd');
  await clock.advance(60_000);
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((id) => store.find(id) !== undefined),
    [false, true, true, true],
  );
  await clock.advance(2 * 60_000);
  add('e');
  await clock.advance(60_000);
  assert.equal(store.count(), 1);
  assert.ok(store.find('e'));
  store[Symbol.dispose]();
});
