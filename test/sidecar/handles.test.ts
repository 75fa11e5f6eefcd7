import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { Secret } from '#runtime/secret.ts';
import { type Credential, expiredKeptMs, HandleTable } from '#sidecar/handles.ts';
import { KeySet } from '#tokens/key-set.ts';
import { parseScopeList } from '#tokens/scope.ts';
import { generateSigningKey } from '#tokens/signing-key.ts';
import { verifyToken } from '#tokens/verify.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { mintTestToken, router } from '../support/mint-test-token.ts';

/** The table looks at three facts of a credential; the rest of a token has nothing to do with it. */
function credential(text: string, left: string, expiresAt: number): Credential {
  return { token: { text: new Secret(text), expiresAt }, left: { text: left } } as unknown as Credential;
}

function table(limit?: number) {
  const clock = new FakeClock();
  const handles = new HandleTable({ clock, random: systemRandom, ...(limit === undefined ? {} : { limit }) });
  return { clock, handles, end: clock.now() + 300_000 };
}

describe('handles', () => {
  test('a handle leads back to its credential', () => {
    const { handles, end } = table();
    const made = credential('token-1', 'a:b', end);
    const handle = handles.handleOf(made);
    assert.match(handle, /^[0-9a-f]{32}$/);
    assert.deepEqual(handles.find(handle), { tag: 'found', ...made });
  });

  test('the same credential has the same handle, however many requests carry it', () => {
    const { handles, end } = table();
    const all = new Set(Array.from({ length: 1000 }, () => handles.handleOf(credential('token-1', 'a:b', end))));
    assert.equal(all.size, 1);
    assert.equal(handles.size, 1);
  });

  test('another token, or less left of the same token, is another handle', () => {
    const { handles, end } = table();
    const all = new Set([
      handles.handleOf(credential('token-1', 'a:b c:d', end)),
      handles.handleOf(credential('token-1', 'a:b', end)),
      handles.handleOf(credential('token-2', 'a:b', end)),
    ]);
    assert.equal(all.size, 3);
  });

  test('a handle ends with its token: expired for a while, then unknown', async () => {
    const { clock, handles, end } = table();
    const handle = handles.handleOf(credential('token-1', 'a:b', end));
    await clock.advance(299_999);
    assert.equal(handles.find(handle).tag, 'found');
    await clock.advance(1);
    assert.deepEqual(handles.find(handle), { tag: 'expired' });
    await clock.advance(expiredKeptMs + 20_000);
    assert.deepEqual(handles.find(handle), { tag: 'unknown' });
    assert.equal(handles.size, 0);
  });

  test('what was never issued, or is not a handle at all, is unknown', () => {
    const { handles } = table();
    for (const text of ['', 'f'.repeat(32), 'F'.repeat(32), 'x', 'f'.repeat(33), '__proto__']) {
      assert.deepEqual(handles.find(text), { tag: 'unknown' });
    }
  });

  test('at the limit the oldest goes, and is counted', () => {
    const { handles, end } = table(3);
    const made = ['1', '2', '3', '4'].map((text) => handles.handleOf(credential(text, 'a:b', end)));
    assert.deepEqual(
      made.map((handle) => handles.find(handle).tag),
      ['unknown', 'found', 'found', 'found'],
    );
    assert.equal(handles.size, 3);
    assert.equal(handles.evicted, 1);
  });

  test('one that went is unknown, also if it was the last that was found', () => {
    const { handles, end } = table(1);
    const handle = handles.handleOf(credential('1', 'a:b', end));
    assert.equal(handles.find(handle).tag, 'found');
    const next = handles.handleOf(credential('2', 'a:b', end));
    assert.deepEqual([handles.find(handle).tag, handles.find(next).tag], ['unknown', 'found']);
  });

  test('disposing forgets everything and leaves no timer', () => {
    const { clock, handles, end } = table();
    const handle = handles.handleOf(credential('token-1', 'a:b', end));
    handles[Symbol.dispose]();
    assert.deepEqual(handles.find(handle), { tag: 'unknown' });
    assert.equal(clock.pendingTimers, 0);
  });

  test('of one sidecar are the same in all its threads, from the moment in which one of them gives a handle out', async () => {
    const clock = new FakeClock();
    const options = { clock, random: systemRandom, sharedAs: 'api-1' };
    using first = new HandleTable(options);
    using second = new HandleTable(options);
    using other = new HandleTable({ ...options, sharedAs: 'api-2' });
    const keySet = generateSigningKey({ iss: 'https://identity.cellmesh.localhost', kind: 'cell', owner: router });
    const text = await mintTestToken(keySet, {});
    const token = await verifyToken(text, {
      keySet: new KeySet([keySet.published]),
      audience: 'cell-1.cellmesh.localhost',
      nowMs: systemClock.now(),
    });
    const left = parseScopeList('messages:read');
    const handle = first.handleOf({ token, left });
    const found = second.find(handle);
    assert.ok(found.tag === 'found');
    const { text: secret, scopes, ...claims } = found.token;
    assert.deepEqual([secret.reveal(), scopes.text, found.left.text], [text, token.scopes.text, left.text]);
    const { text: _text, scopes: _scopes, ...verified } = token;
    assert.deepEqual(claims, verified);
    assert.equal(second.handleOf(found), handle);
    assert.equal(other.find(handle).tag, 'unknown');
  });
});
