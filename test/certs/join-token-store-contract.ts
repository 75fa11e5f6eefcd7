import assert from 'node:assert/strict';
import test from 'node:test';
import type { JoinTokenStore } from '#certs/join-token-store.ts';
import { parseSpiffeId } from '#certs/spiffe-id.ts';

const id = parseSpiffeId('spiffe://cell-1.example.com/ns/messaging/sa/api');
const hash = 'ab'.repeat(32);
const record = { hash, id, createdAt: 1_000, expiresAt: 2_000 };

/** What every store of join tokens promises. */
export function joinTokenStoreContract(name: string, open: () => JoinTokenStore | Promise<JoinTokenStore>): void {
  test(`${name}: a token is redeemed once`, async () => {
    const store = await open();
    await store.insert(record);
    assert.equal(await store.redeem(hash, 1_500), id);
    assert.equal(await store.redeem(hash, 1_500), undefined);
    assert.deepEqual({ ...(await store.find(hash)) }, { ...record, redeemedAt: 1_500 });
  });

  test(`${name}: a token is good until the millisecond before its end`, async () => {
    const store = await open();
    await store.insert(record);
    assert.equal(await store.redeem(hash, 2_000), undefined);
    assert.equal((await store.find(hash))?.redeemedAt, undefined);
    assert.equal(await store.redeem(hash, 1_999), id);
  });

  test(`${name}: what was never inserted is not there`, async () => {
    const store = await open();
    assert.equal(await store.redeem(hash, 1_500), undefined);
    assert.equal(await store.find(hash), undefined);
    assert.equal(await store.count(), 0);
  });

  test(`${name}: ended tokens are forgotten, spent or not, others stay`, async () => {
    const store = await open();
    const later = { ...record, hash: 'cd'.repeat(32), expiresAt: 3_000 };
    const spent = { ...record, hash: 'ef'.repeat(32) };
    for (const one of [record, later, spent]) await store.insert(one);
    await store.redeem(spent.hash, 1_500);
    assert.equal(await store.count(), 3);
    await store.deleteExpired(2_000);
    assert.equal(await store.count(), 1);
    assert.deepEqual({ ...(await store.find(later.hash)) }, { ...later, redeemedAt: undefined });
  });

  test(`${name}: one hash is inserted once`, async () => {
    const store = await open();
    await store.insert(record);
    await assert.rejects(async () => store.insert(record));
  });
}
