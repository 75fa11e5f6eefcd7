import assert from 'node:assert/strict';
import test from 'node:test';
import type { JoinTokenStore } from '#certs/join-token-store.ts';
import { parseSpiffeId } from '#certs/spiffe-id.ts';

const id = parseSpiffeId('spiffe://cell-1.example.com/ns/messaging/sa/api');
const hash = 'ab'.repeat(32);
const record = { hash, id, createdAt: 1_000, expiresAt: 2_000 };

/** What every store of join tokens promises. */
export function joinTokenStoreContract(name: string, open: () => JoinTokenStore): void {
  test(`${name}: a token is redeemed once`, () => {
    const store = open();
    store.insert(record);
    assert.equal(store.redeem(hash, 1_500), id);
    assert.equal(store.redeem(hash, 1_500), undefined);
    assert.deepEqual({ ...store.find(hash) }, { ...record, redeemedAt: 1_500 });
  });

  test(`${name}: a token is good until the millisecond before its end`, () => {
    const store = open();
    store.insert(record);
    assert.equal(store.redeem(hash, 2_000), undefined);
    assert.equal(store.find(hash)?.redeemedAt, undefined);
    assert.equal(store.redeem(hash, 1_999), id);
  });

  test(`${name}: what was never inserted is not there`, () => {
    const store = open();
    assert.equal(store.redeem(hash, 1_500), undefined);
    assert.equal(store.find(hash), undefined);
    assert.equal(store.count(), 0);
  });

  test(`${name}: ended tokens are forgotten, spent or not, others stay`, () => {
    const store = open();
    const later = { ...record, hash: 'cd'.repeat(32), expiresAt: 3_000 };
    const spent = { ...record, hash: 'ef'.repeat(32) };
    for (const one of [record, later, spent]) store.insert(one);
    store.redeem(spent.hash, 1_500);
    assert.equal(store.count(), 3);
    store.deleteExpired(2_000);
    assert.equal(store.count(), 1);
    assert.deepEqual({ ...store.find(later.hash) }, { ...later, redeemedAt: undefined });
  });

  test(`${name}: one hash is inserted once`, () => {
    const store = open();
    store.insert(record);
    assert.throws(() => store.insert(record));
  });
}
