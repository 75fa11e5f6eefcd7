import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { CellTokens } from '#router/cell-tokens.ts';
import { systemRandom } from '#runtime/random.ts';
import { parseCellId } from '#tokens/cell-id.ts';
import type { ApiKeyStatus } from '#tokens/key-status.ts';
import { parseScopeList } from '#tokens/scope.ts';
import { generateSigningKey } from '#tokens/signing-key.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { account, router } from '../support/mint-test-token.ts';
import { testAuthority } from '../support/test-authority.ts';

const status: ApiKeyStatus = {
  keyId: `SK${'1'.repeat(32)}`,
  accountId: account,
  locator: 'A'.repeat(12),
  scopes: parseScopeList('messages:read messages:write'),
  state: 'active',
  version: 1,
};
const place = { cellId: parseCellId('cell-1'), cellEpoch: 3, generation: 7 };

async function setting() {
  const clock = new FakeClock();
  const key = generateSigningKey({ iss: 'https://identity.example', kind: 'cell', owner: router });
  const tokens = new CellTokens({ key, routerId: router, clock, random: systemRandom });
  const trustDomain = parseTrustDomain('cell-1.example');
  const { authority } = await testAuthority(clock, trustDomain);
  const cell = { cellId: place.cellId, trustDomain, bundle: authority.bundle.current, host: '127.0.0.1', port: 1 };
  const mint = async (change: Partial<ApiKeyStatus> = {}, moved: Partial<typeof place> = {}) =>
    (await tokens.tokenFor({ ...status, ...change }, { ...place, ...moved }, cell)).reveal();
  return { clock, key, mint };
}

test('a cell token says who, where and what, and is signed with the key of its router', async () => {
  const { clock, key, mint } = await setting();
  const token = await mint();
  assert.deepEqual(decodeProtectedHeader(token), { alg: 'ES256', typ: 'at+jwt', kid: key.published.kid });
  const { jti, ...claims } = decodeJwt(token);
  const now = clock.now() / 1000;
  assert.deepEqual(claims, {
    iss: 'https://identity.example',
    sub: account,
    aud: 'cell-1.example',
    iat: now,
    exp: now + 300,
    client_id: router,
    scope: 'messages:read messages:write',
    account,
    cell_id: 'cell-1',
    cell_epoch: 3,
    gen: 7,
  });
  assert.match(String(jti), /^[\w-]{16}$/);
});

test('one is minted for all requests of a key, and another before a minute of its five is left', async () => {
  const { clock, mint } = await setting();
  const [first, second] = await Promise.all([mint(), mint()]);
  assert.equal(first, second);
  await clock.advance(209_000);
  assert.equal(await mint(), first);
  await clock.advance(31_001);
  assert.notEqual(await mint(), first);
});

test('other scopes, another cell, epoch or generation are another token at once', async () => {
  const { mint } = await setting();
  const tokens = [
    await mint(),
    await mint({ scopes: parseScopeList('messages:read') }),
    await mint({}, { cellEpoch: 4 }),
    await mint({}, { generation: 8 }),
    await mint({ keyId: `SK${'2'.repeat(32)}` }),
  ];
  assert.equal(new Set(tokens).size, tokens.length);
});
