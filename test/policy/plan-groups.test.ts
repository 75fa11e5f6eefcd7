import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Accounts, accountsMax, accountsOfGroupMax, type GroupKey, Groups, groupsMax } from '#policy/plan/groups.ts';
import { decisionRecord } from '../support/decision-records.ts';

const key = (peer: string, change: GroupKey['change'] = 'newlyDenied'): GroupKey => ({
  ...{ change, at: 'inbound', service: 'shop/web', peer, before: 'rule read', after: 'scope_missing', scopes: 'a:b' },
});
const record = (n: number, account?: string) => decisionRecord(n, account === undefined ? {} : { account });

describe('groups of decisions', () => {
  test('have the first three as examples, and those of most accounts come first', () => {
    const groups = new Groups();
    for (let n = 0; n < 5; n++) groups.add(key('a'), record(n, 'one'));
    for (let n = 5; n < 9; n++) groups.add(key('b'), record(n, `account ${n % 2}`));
    const [first, second, ...others] = groups.sorted();
    assert.deepEqual([first?.peer, first?.decisions, first?.accounts], ['b', 4, { count: 2, isExact: true }]);
    assert.deepEqual([second?.peer, second?.decisions, second?.accounts], ['a', 5, { count: 1, isExact: true }]);
    assert.deepEqual(others, []);
    assert.deepEqual(
      second?.examples.map(({ id, request }) => [id, request]),
      [0, 1, 2].map((n) => [`web-1.00000000${n}`, `GET /v1/orders/${n}`]),
    );
  });

  test(`are ${groupsMax} at most: of what is past them the decisions are counted`, () => {
    const groups = new Groups();
    for (let n = 0; n < groupsMax + 7; n++) groups.add(key(`peer-${n}`), record(n));
    groups.add(key('peer-0'), record(0));
    groups.add(key('another', 'unknown'), record(0));
    assert.equal(groups.sorted().length, groupsMax);
    assert.deepEqual(groups.others, { newlyDenied: 7, newlyAllowed: 0, unknown: 1 });
  });

  test(`know ${accountsMax} accounts at most, all together`, () => {
    const groups = new Groups();
    const perGroup = accountsOfGroupMax - 1;
    const peers = Math.ceil(accountsMax / perGroup);
    for (let peer = 0; peer < peers; peer++)
      for (let n = 0; n < perGroup; n++) groups.add(key(`peer-${peer}`), record(n, `account ${n}`));
    const counts = groups.sorted().map(({ accounts }) => accounts);
    assert.equal(
      counts.reduce((sum, { count }) => sum + count, 0),
      accountsMax,
    );
    assert.deepEqual(
      counts.map(({ isExact }) => isExact),
      counts.map((_, at) => at < peers - 1),
    );
  });
});

test(`accounts are counted exactly up to ${accountsOfGroupMax}, and then there are at least as many`, () => {
  const accounts = new Accounts();
  for (let n = 0; n < accountsOfGroupMax; n++) accounts.add(`account ${n}`, true);
  accounts.add('account 0', true);
  assert.deepEqual(accounts.count, { count: accountsOfGroupMax, isExact: true });
  accounts.add('one more', true);
  assert.deepEqual(accounts.count, { count: accountsOfGroupMax, isExact: false });
});
