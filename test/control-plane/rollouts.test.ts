import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { parseSpiffeId } from '#certs/spiffe-id.ts';
import type { LoadedCell } from '#control-plane/policy-source.ts';
import { Rollouts, rolloutMigration } from '#control-plane/rollouts.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { silentLogger } from '#runtime/logger.ts';
import { WatchSource } from '#runtime/watch.ts';
import { FakeClock } from '../support/fake-clock.ts';

const id = parseSpiffeId('spiffe://cell-1.example/ns/shop/sa/one');
const candidate = {
  version: 'v',
  id,
  service: 'shop/one',
  percent: 10,
  newlyDeniedMax: 10,
  requestsMin: 100,
  isBesideEnforced: true,
};

function rollouts() {
  const database = new DatabaseSync(':memory:');
  database.exec(rolloutMigration);
  const cell = new WatchSource({ compiled: { candidates: [candidate] } } as unknown as LoadedCell);
  let withdrawn = 0;
  const made = new Rollouts({
    database,
    cell,
    clock: new FakeClock(),
    logger: silentLogger,
    onWithdrawn: () => withdrawn++,
  });
  return { made, withdrawn: () => withdrawn };
}

const counts = (allowed: number, newlyDenied: number) => ({ allowed, newlyDenied, newlyAllowed: 0 });

test('counts are summed over runs, never twice, and judged at the bound', () => {
  const { made, withdrawn } = rollouts();
  made.report(id, 'a', 'v', counts(60, 6));
  made.report(id, 'a', 'v', counts(60, 6));
  made.report(id, 'b', 'v', counts(40, 4));
  assert.deepEqual([made.states()[0]!.allowed, made.states()[0]!.newlyDenied, withdrawn()], [100, 10, 0]);
  made.report(id, 'b', 'v', counts(41, 5));
  made.report(id, 'b', 'v', counts(50, 14));
  assert.equal(withdrawn(), 1, 'once');
});

test('what cannot be counted is refused, and what another service says of it is passed over', () => {
  const { made } = rollouts();
  const refused = (error: unknown) => isCellmeshError(error, 'request_invalid');
  assert.throws(() => made.report(id, 'a', 'v', counts(2 ** 60, 0)), refused);
  assert.throws(() => made.report(id, 'a', 'v', counts(1, 2)), refused);
  assert.throws(() => made.report(id, "a'b", 'v', counts(1, 0)), refused);
  made.report(parseSpiffeId('spiffe://cell-1.example/ns/shop/sa/two'), 'a', 'v', counts(1_000, 1_000));
  assert.equal(made.states()[0]!.allowed, 0);
});
