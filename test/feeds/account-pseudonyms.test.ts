import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DecisionLog } from '#api/generated/cellmesh/policy/v1/decision_log_pb.ts';
import { storedDecisions } from '#cli/recorded-decisions.ts';
import { AccountPseudonyms, accountKeyMigration } from '#feeds/account-pseudonyms.ts';
import { DecisionStore, decisionMigration } from '#feeds/decision-store.ts';
import { type DecisionRecord, parseDecisionRecord } from '#policy/decision-record.ts';
import { systemRandom } from '#runtime/random.ts';
import { openDatabase } from '#runtime/sqlite.ts';
import { startDecisionLogServer } from '../support/decision-log-server.ts';
import { decisionRecord } from '../support/decision-records.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';

const account = `AC${'0123456789abcdef'.repeat(2)}`;
const another = `AC${'f'.repeat(32)}`;
const day = 24 * 3600_000;

function setting() {
  const clock = new FakeClock();
  const migrations = [decisionMigration, accountKeyMigration];
  const database = openDatabase({ file: ':memory:', application: 'x', migrations });
  const options = { clock, random: systemRandom, decisionsAgeMax: day, decisionsSizeMax: 2 ** 40 };
  const store = new DecisionStore(database, options);
  const open = (decisionAccounts: 'plain' | 'hmac' = 'hmac') =>
    new AccountPseudonyms(database, { ...options, decisionAccounts });
  let count = 0;
  const add = (record: string) => store.add([{ id: `x.${count++}`, timeMs: clock.now(), isDenial: false, record }]);
  const keys = () =>
    database
      .prepare('SELECT sequence FROM decision_account_keys')
      .all()
      .map(({ sequence }) => sequence);
  return { clock, open, add, keys };
}

describe('account ids in stored decisions', () => {
  test('have one name each, wherever they stand', () => {
    const pseudonyms = setting().open();
    const name = pseudonyms.hide(account);
    assert.match(name, /^hmac-1-[0-9a-f]{32}$/);
    assert.equal(pseudonyms.hide(account), name);
    assert.notEqual(pseudonyms.hide(another), name);
    const record = decisionRecord(1, {
      path: `/v1/accounts/${account}/orders`,
      account,
      claims: { kind: 'cell', subject: account, clientId: 'r', tokenId: 't', scope: '' },
      failed: { condition: 'account', expected: account, actual: another },
    });
    const hidden = pseudonyms.hide(JSON.stringify(record));
    assert.doesNotMatch(hidden, /AC[0-9a-f]{32}/);
    const { account: hiddenAccount, claims, path, failed } = JSON.parse(hidden) as DecisionRecord;
    assert.deepEqual([hiddenAccount, claims?.subject, failed?.expected], [name, name, name]);
    assert.equal(failed?.actual, pseudonyms.hide(another));
    assert.equal(path, `/v1/accounts/${name}/orders`);
    pseudonyms[Symbol.dispose]();
  });

  test('keep their name over a restart, and get another with the next key', async () => {
    const { clock, open, keys, add } = setting();
    const first = open();
    const name = first.hide(account);
    add(name);
    first[Symbol.dispose]();
    const second = open();
    assert.equal(second.hide(account), name);
    await clock.advance(day);
    const next = second.hide(account);
    assert.match(next, /^hmac-2-/);
    assert.notEqual(next.slice(7), name.slice(7));
    second[Symbol.dispose]();
    assert.deepEqual(keys().length, 2);
  });

  test('cannot be told from their names once the last decision under a key is gone: the key is gone too', async () => {
    const { clock, open, keys, add } = setting();
    const pseudonyms = open();
    await clock.advance(day - 120_000);
    add(pseudonyms.hide(account));
    await clock.advance(120_000);
    add(pseudonyms.hide(account));
    assert.deepEqual(keys(), [1, 2]);
    await clock.advance(day - 180_000);
    assert.deepEqual(keys(), [1, 2]);
    await clock.advance(180_000);
    assert.deepEqual(keys(), [2, 3]);
    pseudonyms[Symbol.dispose]();
    const off = open('plain');
    assert.equal(off.hide(account), account);
    await clock.advance(day + 60_000);
    assert.deepEqual(keys(), []);
    off[Symbol.dispose]();
  });
});

test('whoever looks a decision up, follows or exports sees the name', async () => {
  await using server = await startDecisionLogServer({ flags: { decisionAccounts: 'hmac' } });
  using admin = server.client('admin');
  using sidecar = server.client('workload');
  const followed: string[] = [];
  const following = admin.follow(DecisionLog.method.follow, {});
  following.onMessage(({ records }) => followed.push(...records));
  following.onEnd(() => {});
  const report = sidecar.open(DecisionLog.method.report);
  report.onEnd(() => {});
  let n = 0;
  await eventually(() => {
    report.send({ sequence: BigInt(n), records: [JSON.stringify(decisionRecord(n++, { account }))] });
    assert.ok(followed.length > 0);
  });
  const { id } = decisionRecord(0);
  const found = parseDecisionRecord((await admin.call(DecisionLog.method.find, { id })).record);
  assert.match(found.account!, /^hmac-1-/);
  const [exported] = await Array.fromAsync(storedDecisions([admin], {}));
  assert.deepEqual(exported, found);
  assert.equal(parseDecisionRecord(followed[0]!).account, found.account);
  following.end();
  report.end();
});
