import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { inspect } from 'node:util';
import {
  type JoinTokenReason,
  JoinTokenRejected,
  JoinTokens,
  joinTokenLifetimeMs,
  outstandingJoinTokensMax,
} from '#certs/join-token.ts';
import { joinTokenMigration, sqliteJoinTokenStore } from '#certs/join-token-store-sqlite.ts';
import { adminId, controlPlaneId } from '#certs/reserved-ids.ts';
import { parseTrustDomain, trustDomainId, workloadId } from '#certs/spiffe-id.ts';
import { systemRandom } from '#runtime/random.ts';
import { openDatabase } from '#runtime/sqlite.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { memoryJoinTokenStore } from '../support/join-token-store-memory.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { joinTokenStoreContract } from './join-token-store-contract.ts';

const trustDomain = parseTrustDomain('cell-1.example.com');
const id = workloadId(trustDomain, 'messaging', 'api');

function database(file = ':memory:') {
  return openDatabase({ file, application: 'test', migrations: [joinTokenMigration] });
}

joinTokenStoreContract('memory', memoryJoinTokenStore);
joinTokenStoreContract('SQLite', () => sqliteJoinTokenStore(database()));

function tokens(store = memoryJoinTokenStore()) {
  const clock = new FakeClock();
  return { clock, store, tokens: new JoinTokens({ store, clock, random: systemRandom }) };
}

function rejection(reason: JoinTokenReason): (error: unknown) => boolean {
  return (error) =>
    error instanceof JoinTokenRejected && error.code === 'join_token_rejected' && error.reason === reason;
}

test('a token has 256 bits behind a prefix, is good for ten minutes, and gives its one ID once', async () => {
  const { tokens: all, clock } = tokens();
  const { token, expiresAt } = await all.create({ id });
  assert.match(token.reveal(), /^cmj1_[A-Za-z0-9_-]{43}$/);
  assert.equal(expiresAt, clock.now() + joinTokenLifetimeMs);
  assert.equal(await all.redeem(token.reveal()), id);
  await assert.rejects(all.redeem(token.reveal()), rejection('used'));
});

test('a token ends after ten minutes, to the millisecond', async () => {
  const { tokens: all, clock } = tokens();
  const first = await all.create({ id });
  const second = await all.create({ id });
  await clock.advance(joinTokenLifetimeMs - 1);
  assert.equal(await all.redeem(first.token.reveal()), id);
  await clock.advance(1);
  await assert.rejects(all.redeem(second.token.reveal()), rejection('expired'));
});

test('unknown and malformed tokens are told apart for the log, and answered alike', async () => {
  const { tokens: all } = tokens();
  const unknown = `cmj1_${'A'.repeat(43)}`;
  await assert.rejects(all.redeem(unknown), rejection('unknown'));
  for (const text of [
    '',
    'cmj1_',
    unknown.slice(1),
    `${unknown}A`,
    `${unknown}\n`,
    unknown.replace('cmj1', 'cmj2'),
    'x'.repeat(1_000_000),
  ]) {
    await assert.rejects(all.redeem(text), rejection('malformed'));
  }
  assert.equal(new JoinTokenRejected('unknown').message, new JoinTokenRejected('used').message);
});

test('the store and every printed form have no trace of the token', async () => {
  const { tokens: all, store } = tokens();
  const inserted: string[] = [];
  const created = await new JoinTokens({
    store: { ...store, insert: (record) => void inserted.push(inspect(record)) },
    clock: new FakeClock(),
    random: systemRandom,
  }).create({ id });
  const text = created.token.reveal();
  assert.doesNotMatch(inserted.join(), new RegExp(text.slice(5, 20)));
  assert.doesNotMatch(inspect(created) + JSON.stringify(created), new RegExp(text.slice(5, 20)));
  await assert.rejects(all.redeem(text));
});

test('reserved IDs need the explicit flag, the ID of an authority is never bound', async () => {
  const { tokens: all } = tokens();
  const refused = { code: 'join_token_refused' };
  for (const reserved of [controlPlaneId(trustDomain), adminId(trustDomain, 'ann')]) {
    await assert.rejects(all.create({ id: reserved }), refused);
    const { token } = await all.create({ id: reserved, allowReserved: true });
    assert.equal(await all.redeem(token.reveal()), reserved);
  }
  await assert.rejects(all.create({ id: trustDomainId(trustDomain), allowReserved: true }), refused);
});

test('a lifetime may be shorter, not longer, than ten minutes', async () => {
  const { tokens: all } = tokens();
  await all.create({ id, lifetimeMs: 1 });
  for (const lifetimeMs of [0, -1, Number.NaN, joinTokenLifetimeMs + 1]) {
    await assert.rejects(all.create({ id, lifetimeMs }), { code: 'join_token_refused' });
  }
});

test('the number of outstanding tokens is bounded, and ended ones make room', async () => {
  const { tokens: all, clock } = tokens();
  for (let index = 0; index < outstandingJoinTokensMax; index++) await all.create({ id });
  await assert.rejects(all.create({ id }), { code: 'join_token_refused' });
  await clock.advance(joinTokenLifetimeMs);
  await all.create({ id });
});

test('a token that was spent stays spent after the process was killed', async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, 'state.sqlite');
  const first = database(file);
  const before = tokens(sqliteJoinTokenStore(first)).tokens;
  const { token } = await before.create({ id });
  assert.equal(await before.redeem(token.reveal()), id);
  first.close();
  const second = database(file);
  await assert.rejects(tokens(sqliteJoinTokenStore(second)).tokens.redeem(token.reveal()), rejection('used'));
  second.close();
});
