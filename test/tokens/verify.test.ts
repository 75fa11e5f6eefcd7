import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { SignJWT } from 'jose';
import { systemRandom } from '#runtime/random.ts';
import { WatchSource } from '#runtime/watch.ts';
import { newAccountId } from '#tokens/account-id.ts';
import { parseCellId } from '#tokens/cell-id.ts';
import { KeySet, parseKeySet, serializeKeySet } from '#tokens/key-set.ts';
import { mintToken, type TokenClaims } from '#tokens/mint.ts';
import { parseScopeList } from '#tokens/scope.ts';
import { generateSigningKey, type SigningKey } from '#tokens/signing-key.ts';
import { TokenRejected } from '#tokens/token-reasons.ts';
import { askEveryMs, TokenVerifier } from '#tokens/token-verifier.ts';
import { verifyToken } from '#tokens/verify.ts';
import { FakeClock } from '../support/fake-clock.ts';

const iss = 'https://identity.cellmesh.localhost';
const audience = 'cell-1.cellmesh.localhost';
const clock = new FakeClock();
const key = generateSigningKey({ iss, kind: 'cell' });
const keySet = new KeySet([key.published]);

function claims(changed: Partial<TokenClaims> = {}): TokenClaims {
  return {
    sub: 'AC00000000000000000000000000000001',
    aud: audience,
    issuedAt: clock.now(),
    expiresAt: clock.now() + 300_000,
    id: systemRandom.bytes(12).toString('base64url'),
    clientId: 'spiffe://cellmesh.localhost/router/local/r1',
    scope: parseScopeList('messages:read messages:write'),
    account: newAccountId(systemRandom),
    cellId: parseCellId('cell-1'),
    cellEpoch: 1,
    generation: 0,
    ...changed,
  };
}

async function sign(
  payload: Record<string, unknown>,
  header: Record<string, unknown> = {},
  signer: SigningKey = key,
): Promise<string> {
  return new SignJWT(payload)
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: key.published.kid, ...header })
    .sign(signer.privateKey);
}

function plainClaims(changed: Record<string, unknown> = {}): Record<string, unknown> {
  const now = Math.floor(clock.now() / 1000);
  const whole = {
    iss,
    sub: 'AC00000000000000000000000000000001',
    aud: audience,
    iat: now,
    exp: now + 300,
    jti: 'one',
    client_id: 'spiffe://cellmesh.localhost/router/local/r1',
    scope: 'messages:read',
    account: 'AC00000000000000000000000000000001',
    cell_id: 'cell-1',
    cell_epoch: 1,
    gen: 0,
    ...changed,
  };
  return Object.fromEntries(Object.entries(whole).filter(([, value]) => value !== undefined));
}

const verify = (text: string, nowMs = clock.now()) => verifyToken(text, { keySet, audience, nowMs });
const rejects = (promise: Promise<unknown>, reason: string) =>
  assert.rejects(promise, (error) => error instanceof TokenRejected && error.reason === reason);

test('a minted token verifies and says what it was minted with', async () => {
  const minted = claims();
  const token = await verify((await mintToken(key, minted)).reveal());
  assert.equal(token.kind, 'cell');
  assert.equal(token.account, minted.account);
  assert.equal(token.scopes.text, 'messages:read messages:write');
  assert.equal(token.expiresAt, minted.expiresAt);
  assert.equal(token.cellId, 'cell-1');
});

test('every claim that a cell token must carry is missed', async () => {
  for (const name of ['sub', 'iat', 'exp', 'jti', 'client_id', 'scope', 'account', 'cell_id', 'cell_epoch', 'gen']) {
    await rejects(verify(await sign(plainClaims({ [name]: undefined }))), 'token_claims');
  }
  await rejects(verify(await sign(plainClaims({ aud: undefined }))), 'token_audience');
  await rejects(verify(await sign(plainClaims({ iss: undefined }))), 'token_issuer');
});

test('a claim of the wrong kind is refused', async () => {
  const wrong: Record<string, unknown> = {
    sub: 7,
    iat: '1',
    jti: '',
    client_id: [],
    scope: ['messages:read'],
    account: 'AC1',
    cell_id: 'Cell 1',
    cell_epoch: -1,
    gen: 1.5,
  };
  for (const [name, value] of Object.entries(wrong)) {
    await rejects(verify(await sign(plainClaims({ [name]: value }))), 'token_claims');
  }
});

test('a token for another audience, or for several, is refused', async () => {
  await rejects(verify(await sign(plainClaims({ aud: 'cell-2.cellmesh.localhost' }))), 'token_audience');
  await rejects(verify(await sign(plainClaims({ aud: [audience, 'cell-2.cellmesh.localhost'] }))), 'token_audience');
});

test('a token is good until its end and thirty seconds of skew', async () => {
  const text = (await mintToken(key, claims())).reveal();
  await verify(text, clock.now() + 329_000);
  await rejects(verify(text, clock.now() + 331_000), 'token_expired');
  await verify(text, clock.now() - 29_000);
  await rejects(verify(text, clock.now() - 31_000), 'token_not_yet_valid');
});

test('a cell token that would live longer than five minutes is refused', async () => {
  await rejects(verify((await mintToken(key, claims({ expiresAt: clock.now() + 301_000 }))).reveal()), 'token_claims');
});

test('the header cannot choose algorithm, type or extensions', async () => {
  const payload = Buffer.from(JSON.stringify(plainClaims())).toString('base64url');
  const head = (header: object) => Buffer.from(JSON.stringify(header)).toString('base64url');
  const kid = key.published.kid;
  await rejects(verify(`${head({ alg: 'none', typ: 'at+jwt', kid })}.${payload}.x`), 'token_algorithm');
  const hmacInput = `${head({ alg: 'HS256', typ: 'at+jwt', kid })}.${payload}`;
  const publicPem = key.published.publicKey.export({ type: 'spki', format: 'pem' });
  const mac = createHmac('sha256', publicPem).update(hmacInput).digest('base64url');
  await rejects(verify(`${hmacInput}.${mac}`), 'token_algorithm');
  await rejects(verify(await sign(plainClaims(), { typ: 'JWT' })), 'token_type');
  await rejects(verify(await sign(plainClaims(), { kid: 'another' })), 'token_key_unknown');
  await rejects(verify(await sign(plainClaims({ iss: 'https://elsewhere.example' }))), 'token_issuer');
  await rejects(
    verify(`${head({ alg: 'ES256', typ: 'at+jwt', kid, crit: ['b64'], b64: false })}.${payload}.x`),
    'token_malformed',
  );
});

test('a changed payload, a changed signature and a foreign key are refused', async () => {
  const text = (await mintToken(key, claims())).reveal();
  const [head, payload, signature] = text.split('.') as [string, string, string];
  const wider = Buffer.from(
    JSON.stringify({ ...JSON.parse(Buffer.from(payload, 'base64url').toString()), scope: 'admin:all' }),
  );
  await rejects(verify(`${head}.${wider.toString('base64url')}.${signature}`), 'token_signature');
  await rejects(verify(await sign(plainClaims(), {}, generateSigningKey({ iss, kind: 'cell' }))), 'token_signature');
});

test('anything but a compact JWS of at most 4 KiB is refused', async () => {
  for (const text of ['', 'a', 'a.b', '..', 'a.b.c.d', 'é.b.c', 'a.b.c\n', `${'e30'}.${'e30'}.`])
    await rejects(verify(text), 'token_malformed');
  await rejects(verify(`a.${'b'.repeat(4096)}.c`), 'token_too_large');
});

test('a key set holds public keys of the right kind only, and comes back the same', () => {
  const again = parseKeySet(serializeKeySet(keySet));
  assert.equal(again.version, keySet.version);
  assert.equal(again.find(iss, key.published.kid)?.kind, 'cell');
  const entry = JSON.parse(serializeKeySet(keySet)).keys[0];
  const refuses = (changed: object) =>
    assert.throws(() => parseKeySet(JSON.stringify({ keys: [{ ...entry, ...changed }] })), /refused/);
  refuses({ d: 'secret' });
  refuses({ kty: 'oct', k: 'AAAA' });
  refuses({ alg: 'HS256' });
  refuses({ alg: 'RS256' });
  refuses({ kind: 'root' });
  refuses({ kid: '' });
  refuses({ owner: 'https://router' });
  const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' });
  refuses({ ...small, kty: 'RSA', alg: 'RS256' });
  assert.throws(() => parseKeySet(JSON.stringify({ keys: [entry, entry] })), /twice/);
});

test('RS256 and PS256 tokens of a key that signs them verify', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  for (const alg of ['RS256', 'PS256'] as const) {
    const set = parseKeySet(
      JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), alg, kid: alg, iss, kind: 'cell' }] }),
    );
    const text = await new SignJWT(plainClaims()).setProtectedHeader({ alg, typ: 'at+jwt', kid: alg }).sign(privateKey);
    await verifyToken(text, { keySet: set, audience, nowMs: clock.now() });
    const other = alg === 'RS256' ? 'PS256' : 'RS256';
    const swapped = await new SignJWT(plainClaims())
      .setProtectedHeader({ alg: other, typ: 'at+jwt', kid: alg })
      .sign(privateKey);
    await rejects(verifyToken(swapped, { keySet: set, audience, nowMs: clock.now() }), 'token_algorithm');
  }
});

test('a verifier remembers a token, until it ends or the keys change', async () => {
  const own = new FakeClock(clock.now());
  const keys = new WatchSource(keySet);
  using verifier = new TokenVerifier({ keySet: keys, audience, clock: own });
  const text = (await mintToken(key, claims())).reveal();
  assert.equal(verifier.lookup(text), undefined);
  const token = await verifier.verify(text);
  assert.equal(verifier.lookup(text), token);
  keys.set(KeySet.empty);
  assert.equal(verifier.lookup(text), undefined);
  await rejects(verifier.verify(text), 'token_issuer');
  keys.set(keySet);
  await verifier.verify(text);
  await own.advance(330_000);
  assert.throws(() => verifier.lookup(text), /expired/);
});

test('keys that change between the check of a token and its answer leave nothing remembered', async () => {
  const keys = new WatchSource(keySet);
  let reads = 0;
  const changing = {
    get current() {
      const current = keys.current;
      // The second look is the last one at these keys.
      if (++reads === 2) queueMicrotask(() => keys.set(KeySet.empty));
      return current;
    },
    subscribe: (listener: (value: KeySet) => void) => keys.subscribe(listener),
  };
  using verifier = new TokenVerifier({ keySet: changing, audience, clock });
  const text = (await mintToken(key, claims())).reveal();
  await verifier.verify(text);
  assert.equal(verifier.lookup(text), undefined);
  await rejects(verifier.verify(text), 'token_issuer');
});

test('a flood of unknown keys makes one question in thirty seconds', async () => {
  const own = new FakeClock(clock.now());
  let questions = 0;
  const askForKey = async () => void questions++;
  using verifier = new TokenVerifier({ keySet: new WatchSource(keySet), audience, clock: own, askForKey });
  const flood = () =>
    Promise.all(
      Array.from({ length: 50 }, async (_, index) =>
        rejects(verifier.verify(await sign(plainClaims(), { kid: `k${index}` })), 'token_key_unknown'),
      ),
    );
  await flood();
  await flood();
  assert.equal(questions, 1);
  await own.advance(askEveryMs);
  await flood();
  assert.equal(questions, 2);
});

test('a key that arrives with the answer verifies the token that asked for it', async () => {
  const keys = new WatchSource(KeySet.empty);
  const other = generateSigningKey({ iss, kind: 'cell' });
  keys.set(new KeySet([other.published]));
  const askForKey = async () => keys.set(new KeySet([other.published, key.published]));
  using verifier = new TokenVerifier({ keySet: keys, audience, clock, askForKey });
  await verifier.verify((await mintToken(key, claims())).reveal());
});

test('remembered tokens are forgotten when they have ended, with the next one that comes', async () => {
  const own = new FakeClock(clock.now());
  using verifier = new TokenVerifier({ keySet: new WatchSource(keySet), audience, clock: own });
  const verifyOne = async () => {
    const life = { issuedAt: own.now(), expiresAt: own.now() + 300_000 };
    await verifier.verify((await mintToken(key, claims(life))).reveal());
  };
  for (let index = 0; index < 5; index++) await verifyOne();
  await own.advance(329_999);
  await verifyOne();
  assert.equal(verifier.size, 6);
  await own.advance(1);
  await verifyOne();
  assert.equal(verifier.size, 2);
});

test('remembered tokens are bounded', async () => {
  using verifier = new TokenVerifier({ keySet: new WatchSource(keySet), audience, clock, tokensMax: 3 });
  for (let index = 0; index < 5; index++) await verifier.verify((await mintToken(key, claims())).reveal());
  assert.equal(verifier.size, 3);
});
