import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recoverRoot } from '#certs/recover-root.ts';
import { RootKeeper } from '#certs/root-keeper.ts';
import { prepare, publish } from '#certs/root-rotation.ts';
import { createRoot, singleRoot } from '#certs/roots.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { MemoryRootStore } from '../support/root-store-memory.ts';

const trustDomain = parseTrustDomain('cell-1.example.com');
const hourMs = 3600_000;
const rules = { beginAfter: 2 / 3, publishMsMin: 12 * hourMs, svidLifetimeMs: 12 * hourMs };

/** A root of an hour, beside one of two hours that is to follow it. */
async function setting(isPublished: boolean) {
  const clock = new FakeClock();
  const common = { trustDomain, clock, random: systemRandom, logger: silentLogger };
  const active = await createRoot({ ...common, lifetimeMs: hourMs }, 'active');
  const next = await createRoot({ ...common, lifetimeMs: 2 * hourMs }, 'prepared');
  const prepared = prepare(singleRoot(trustDomain, active, 1), next);
  const store = new MemoryRootStore();
  await store.save(isPublished ? publish(prepared, clock.now()) : prepared, undefined);
  await clock.advance(1.5 * hourMs);
  return { ...common, store, next };
}

test('where the next root is known to everybody, whoever starts goes on with it, and nothing is to be recovered', async () => {
  const at = await setting(true);
  await assert.rejects(recoverRoot(at), { code: 'rotation_refused', message: /next one is known already, good until/ });
  const keeper = await RootKeeper.open({ ...at, rules });
  assert.deepEqual(keeper.bundle.current.roots[0]!.der, at.next.certificate.der);
});

test('one that nobody has heard of recovers nothing, nor does one that has ended too', async () => {
  const unheard = await setting(false);
  await assert.rejects(RootKeeper.open({ ...unheard, rules }), { code: 'root_expired' });
  assert.notDeepEqual((await recoverRoot(unheard)).root.der, unheard.next.certificate.der);
  const ended = await setting(true);
  await ended.clock.advance(hourMs);
  assert.notDeepEqual((await recoverRoot(ended)).root.der, ended.next.certificate.der);
});
