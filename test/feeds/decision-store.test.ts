import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { DecisionStore, decisionMigration } from '#feeds/decision-store.ts';
import { openDatabase } from '#runtime/sqlite.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const mebibyte = 1024 * 1024;

function setting({ decisionsAgeMax = 3600_000, decisionsSizeMax = 64 * mebibyte, file = ':memory:' } = {}) {
  const clock = new FakeClock();
  const database = openDatabase({ file, application: 'x', migrations: [decisionMigration] });
  const store = new DecisionStore(database, { clock, decisionsAgeMax, decisionsSizeMax });
  const add = (...ids: string[]) =>
    store.add(
      ids.map((id) => ({ id, timeMs: clock.now(), isDenial: false, record: JSON.stringify({ id }).padEnd(700) })),
    );
  const close = () => {
    store[Symbol.dispose]();
    database.close();
  };
  return { clock, store, add, close };
}

const ids = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `x.${from + n}`);

test('a decision is found by its id; one that comes twice is stored once', () => {
  const { store, add, close } = setting();
  add('a', 'b', 'a');
  assert.deepEqual(
    add('b', 'd').map(({ id }) => id),
    ['d'],
  );
  assert.equal(store.count(), 3);
  assert.match(store.find('a')!, /^\{"id":"a"\}/);
  assert.equal(store.find('c'), undefined);
  close();
});

test('decisions are kept for their time, and go a slice at a time', async () => {
  const { clock, store, add, close } = setting({ decisionsAgeMax: 150_000 });
  for (let n = 0; n < 3_000; n += 500) add(...ids(n, n + 500));
  await clock.advance(120_000);
  add('young');
  assert.equal(store.count(), 3_001);
  await clock.advance(60_000);
  assert.equal(store.count(), 2_001, 'others had their turn');
  await clock.advance(20);
  assert.equal(store.count(), 1);
  assert.ok(store.find('young'));
  await clock.advance(150_000);
  assert.equal(store.count(), 0);
  close();
});

test('there are no more of them than fit: the oldest go, and the file grows no further', async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, 'x.db');
  const { store, add, close } = setting({ decisionsSizeMax: 4 * mebibyte, file });
  for (let n = 0; n < 20_000; n += 500) add(...ids(n, n + 500));
  assert.ok(store.count() > 2_000 && store.count() < 6_000, `${store.count()} are kept`);
  assert.ok(store.find('x.19999'));
  assert.ok(store.find('x.18500'));
  assert.equal(store.find('x.0'), undefined);
  const { size } = await stat(file);
  assert.ok(size < 5.5 * mebibyte, `the file has ${size} bytes`);
  close();
  const again = setting({ file, decisionsSizeMax: 2 * mebibyte });
  assert.equal(again.store.count() > 2_000, true, 'counted at the start');
  await again.clock.advance(61_000);
  assert.ok(again.store.bytes() <= 2 * mebibyte, 'a bound that was lowered holds before anything comes');
  assert.ok(again.store.find('x.19999'));
  again.close();
});
