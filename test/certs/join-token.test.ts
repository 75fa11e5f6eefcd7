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

test('a token has 256 bits behind a prefix, is good for ten minutes, and gives its one ID once', () => {
  const { tokens: all, clock } = tokens();
  const { token, expiresAt } = all.create({ id });
  assert.match(token.reveal(), /^cmj1_[A-Za-z0-9_-]{43}$/);
  assert.equal(expiresAt, clock.now() + joinTokenLifetimeMs);
  assert.equal(all.redeem(token.reveal()), id);
  assert.throws(() => all.redeem(token.reveal()), rejection('used'));
});

test('a token ends after ten minutes, to the millisecond', async () => {
  const { tokens: all, clock } = tokens();
  const first = all.create({ id });
  const second = all.create({ id });
  await clock.advance(joinTokenLifetimeMs - 1);
  assert.equal(all.redeem(first.token.reveal()), id);
  await clock.advance(1);
  assert.throws(() => all.redeem(second.token.reveal()), rejection('expired'));
});

test('unknown and malformed tokens are told apart for the log, and answered alike', () => {
  const { tokens: all } = tokens();
  const unknown = `cmj1_${'A'.repeat(43)}`;
  assert.throws(() => all.redeem(unknown), rejection('unknown'));
  for (const text of [
    '',
    'cmj1_',
    unknown.slice(1),
    `${unknown}A`,
    `${unknown}\n`,
    unknown.replace('cmj1', 'cmj2'),
    'x'.repeat(1_000_000),
  ]) {
    assert.throws(() => all.redeem(text), rejection('malformed'));
  }
  assert.equal(new JoinTokenRejected('unknown').message, new JoinTokenRejected('used').message);
});

test('the store and every printed form have no trace of the token', () => {
  const { tokens: all, store } = tokens();
  const inserted: string[] = [];
  const created = new JoinTokens({
    store: { ...store, insert: (record) => void inserted.push(inspect(record)) },
    clock: new FakeClock(),
    random: systemRandom,
  }).create({ id });
  const text = created.token.reveal();
  assert.doesNotMatch(inserted.join(), new RegExp(text.slice(5, 20)));
  assert.doesNotMatch(inspect(created) + JSON.stringify(created), new RegExp(text.slice(5, 20)));
  assert.throws(() => all.redeem(text));
});

test('reserved IDs need the explicit flag, the ID of an authority is never bound', () => {
  const { tokens: all } = tokens();
  const refused = { code: 'join_token_refused' };
  for (const reserved of [controlPlaneId(trustDomain), adminId(trustDomain, 'ann')]) {
    assert.throws(() => all.create({ id: reserved }), refused);
    assert.equal(all.redeem(all.create({ id: reserved, allowReserved: true }).token.reveal()), reserved);
  }
  assert.throws(() => all.create({ id: trustDomainId(trustDomain), allowReserved: true }), refused);
});

test('a lifetime may be shorter, not longer, than ten minutes', () => {
  const { tokens: all } = tokens();
  all.create({ id, lifetimeMs: 1 });
  for (const lifetimeMs of [0, -1, Number.NaN, joinTokenLifetimeMs + 1]) {
    assert.throws(() => all.create({ id, lifetimeMs }), { code: 'join_token_refused' });
  }
});

test('the number of outstanding tokens is bounded, and ended ones make room', async () => {
  const { tokens: all, clock } = tokens();
  for (let index = 0; index < outstandingJoinTokensMax; index++) all.create({ id });
  assert.throws(() => all.create({ id }), { code: 'join_token_refused' });
  await clock.advance(joinTokenLifetimeMs);
  all.create({ id });
});

test('a token that was spent stays spent after the process was killed', async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, 'state.sqlite');
  const first = database(file);
  const before = tokens(sqliteJoinTokenStore(first)).tokens;
  const { token } = before.create({ id });
  assert.equal(before.redeem(token.reveal()), id);
  first.close();
  const second = database(file);
  assert.throws(() => tokens(sqliteJoinTokenStore(second)).tokens.redeem(token.reveal()), rejection('used'));
  second.close();
});
