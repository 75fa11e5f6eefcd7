import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { Authenticator } from '#router/authenticate.ts';
import { MatchCache } from '#router/match-cache.ts';
import { WarmKeys } from '#router/warm-keys.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { Secret } from '#runtime/secret.ts';
import { generateApiKey } from '#tokens/api-key.ts';
import { parseBasicCredentials } from '#tokens/authorization-basic.ts';
import type { ApiKeyStatus } from '#tokens/key-status.ts';
import { parseScopeList } from '#tokens/scope.ts';
import { RateLimiter } from '#traffic/gcra.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { account } from '../support/mint-test-token.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

function setting() {
  const clock = new FakeClock();
  const tagKey = new Secret(randomBytes(32));
  const { locator, secret } = generateApiKey(tagKey, systemRandom);
  const key: ApiKeyStatus = {
    keyId: `SK${'1'.repeat(32)}`,
    accountId: account,
    locator,
    scopes: parseScopeList('messages:read'),
    state: 'active',
    version: 1,
  };
  const keys = new Map([[locator, key]]);
  const state = { ageMs: 0, asked: 0, answer: async (): Promise<'match' | 'key_mismatch'> => 'match' };
  const matches = new MatchCache(new Secret(randomBytes(32)));
  const authenticator = new Authenticator({
    status: () => ({ tagKey, keys }),
    statusAgeMs: () => state.ageMs,
    matches,
    verifyCold: () => {
      state.asked++;
      return state.answer();
    },
    coldLimiter: new RateLimiter(clock),
    clock,
  });
  const authenticate = (password = secret.reveal(), user: string = account, address = '192.0.2.1') =>
    authenticator.authenticate(basic(user, password), address);
  const guess = () => generateApiKey(tagKey, systemRandom).secret.reveal();
  return { clock, state, keys, key, secret, matches, authenticate, guess };
}

describe('a key', () => {
  test('is asked about once, however many ask at the same time, and then known from memory', async () => {
    const { authenticate, state } = setting();
    let answer: (verdict: 'match') => void = () => {};
    state.answer = () =>
      new Promise((resolve) => {
        answer = resolve;
      });
    const waiting = Array.from({ length: 50 }, () => authenticate());
    answer('match');
    for (const { tag } of await Promise.all(waiting)) assert.equal(tag, 'known');
    assert.equal((await authenticate()).tag, 'known');
    assert.equal(state.asked, 1);
  });

  test('that is refused is not asked about again for a while', async () => {
    const { authenticate, state, clock } = setting();
    state.answer = async () => 'key_mismatch';
    for (let i = 0; i < 10; i++) assert.equal((await authenticate()).tag, 'rejected');
    assert.equal(state.asked, 1);
    await clock.advance(30_001);
    await authenticate();
    assert.equal(state.asked, 2);
  });

  test('is asked about anew when its secret has changed', async () => {
    const { authenticate, state, keys, key } = setting();
    await authenticate();
    keys.set(key.locator, { ...key, version: 2 });
    await authenticate();
    assert.equal(state.asked, 2);
  });

  test('that has ended, was revoked, or belongs to somebody else is refused without asking, warm or not', async () => {
    const { authenticate, state, keys, key, clock } = setting();
    await authenticate();
    for (const [change, why] of [
      [{ state: 'revoked' }, 'key_revoked'],
      [{ notAfter: clock.now() }, 'key_expired'],
    ] as const) {
      keys.set(key.locator, { ...key, ...change });
      assert.deepEqual(await authenticate(), { tag: 'rejected', why });
    }
    keys.set(key.locator, { ...key, notAfter: clock.now() + 1 });
    assert.equal((await authenticate()).tag, 'known');
    assert.deepEqual(await authenticate(undefined, `AC${'f'.repeat(32)}`), { tag: 'rejected', why: 'key_mismatch' });
    assert.equal(state.asked, 1);
  });
});

describe('a flood of first uses', () => {
  test('from one address is limited, and neither warm keys nor other addresses are', async () => {
    const { authenticate, keys, key, guess, state } = setting();
    await authenticate();
    const cold = Array.from({ length: 100 }, guess);
    for (const secret of cold) {
      const locator = secret.slice(5, 17);
      keys.set(locator, { ...key, locator });
    }
    const results = await Promise.all(cold.map((secret) => authenticate(secret)));
    const limited = results.filter(({ tag }) => tag === 'limited');
    assert.equal(limited.length, 41, 'a burst of 60, and one was spent');
    assert.ok(limited.every((result) => result.tag === 'limited' && result.retryAfterSeconds >= 1));
    assert.equal(state.asked, 60);
    assert.equal((await authenticate()).tag, 'known');
    assert.equal((await authenticate(cold.at(-1), account, '198.51.100.7')).tag, 'known');
  });
});

describe('while identity is silent', () => {
  const away = async () => {
    throw new CellmeshError('rpc_unavailable', 'away', { retryable: true });
  };

  test('a warm key goes on, marked, for four hours', async () => {
    const { authenticate, state } = setting();
    await authenticate();
    state.ageMs = 60_000;
    const marked = await authenticate();
    assert.equal(marked.tag === 'known' && marked.degraded, 'key_status_old');
    state.ageMs = 4 * 3600_000 + 1;
    assert.equal((await authenticate()).tag, 'unavailable');
  });

  test('nobody knows about a cold or an unknown key, and nobody says no', async () => {
    const { authenticate, state, guess } = setting();
    state.answer = away;
    assert.equal((await authenticate()).tag, 'unavailable');
    state.ageMs = 60_000;
    assert.equal((await authenticate(guess())).tag, 'unavailable');
  });

  test('a look-up that hangs ends, and is not remembered', async () => {
    const { authenticate, state, clock } = setting();
    state.answer = () => new Promise(() => {});
    const waiting = authenticate();
    await clock.advance(2_000);
    assert.equal((await waiting).tag, 'unavailable');
    state.answer = async () => 'match';
    assert.equal((await authenticate()).tag, 'known');
  });
});

describe('what is remembered', () => {
  test('is no secret, in memory or on disk', async () => {
    await using directory = await temporaryDirectory();
    const options = { directory: directory.path, clock: new FakeClock(), random: systemRandom, logger: silentLogger };
    const secret = new Secret('cmk1_hunter2');
    {
      await using warm = await WarmKeys.open(options);
      warm.cache.add('locator', 1, secret);
      assert.ok(!inspect(warm.cache.entries(), { depth: 9 }).includes('hunter2'));
    }
    const sealed = await readFile(join(directory.path, 'warm-keys.sealed'), 'utf8');
    assert.ok(!sealed.includes('locator') && !Buffer.from(sealed, 'base64').toString('latin1').includes('locator'));
    await using again = await WarmKeys.open(options);
    assert.equal(again.cache.has('locator', 1, secret), true);
    assert.equal(again.cache.has('locator', 2, secret), false);
    assert.equal(again.cache.has('locator', 1, new Secret('cmk1_other')), false);
  });

  test('and was changed on disk is not believed', async () => {
    await using directory = await temporaryDirectory();
    const options = { directory: directory.path, clock: new FakeClock(), random: systemRandom, logger: silentLogger };
    const file = join(directory.path, 'warm-keys.sealed');
    {
      await using warm = await WarmKeys.open(options);
      warm.cache.add('locator', 1, new Secret('a'));
    }
    const bytes = Buffer.from(await readFile(file, 'utf8'), 'base64');
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(file, bytes.toString('base64'));
    await using again = await WarmKeys.open(options);
    assert.equal(again.cache.size, 0);
  });

  test('is bounded: the key that was used longest ago goes first', () => {
    const cache = new MatchCache(new Secret(randomBytes(32)), [], 2);
    for (const name of ['a', 'b', 'c']) cache.add(name, 1, new Secret(name));
    assert.equal(cache.size, 2);
    assert.equal(cache.has('a', 1, new Secret('a')), false);
  });
});

describe('basic credentials', () => {
  test('are split at the first colon', () => {
    const read = parseBasicCredentials(basic('user', 'pass:word'));
    assert.deepEqual([read?.user, read?.password.reveal()], ['user', 'pass:word']);
  });

  for (const [what, header] of [
    ['without a scheme', Buffer.from('a:b').toString('base64')],
    ['of another scheme', 'Bearer YTpi'],
    ['without a colon', `Basic ${Buffer.from('ab').toString('base64')}`],
    ['without a user', `Basic ${Buffer.from(':b').toString('base64')}`],
    ['with a control character', `Basic ${Buffer.from('a:b\n').toString('base64')}`],
    ['in base64url', `Basic ${Buffer.from('a:\xff\xfe').toString('base64url')}`],
    ['with bits left over', 'Basic YTpjZB=='],
    ['without padding', 'Basic YTpiYw'],
    ['with a space inside', 'Basic YTpi YTpi'],
    ['of 513 bytes', `Basic ${'A'.repeat(507)}`],
  ] as const) {
    test(`are not read ${what}`, () => {
      assert.equal(parseBasicCredentials(header), undefined);
    });
  }

  test('are read or not, whatever comes', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void parseBasicCredentials(`Basic ${text}`)));
  });
});
