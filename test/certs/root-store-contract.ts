import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RootStore } from '#certs/root-store.ts';
import { createRoot, type Roots, singleRoot } from '#certs/roots.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { systemRandom } from '#runtime/random.ts';
import { FakeClock } from '../support/fake-clock.ts';

export const trustDomain = parseTrustDomain('cell-1.example.com');

export async function someRoots(): Promise<Roots> {
  const root = await createRoot({ trustDomain, clock: new FakeClock(), random: systemRandom }, 'active');
  return singleRoot(trustDomain, root);
}

/** What every `RootStore` does. `open` twice is two processes at one place. */
export function rootStoreContract(
  name: string,
  open: () => Promise<{ stores: readonly RootStore[] } & AsyncDisposable>,
) {
  test(`${name}: nothing is there at first, then what was saved, key and all`, async () => {
    await using at = await open();
    const [store, other] = at.stores;
    assert.equal(await store!.load(), undefined);
    const roots = await someRoots();
    const version = await store!.save(roots, undefined);
    const loaded = await other!.load();
    assert.equal(loaded!.version, version);
    assert.deepEqual(loaded!.roots.roots[0]!.certificate.der, roots.roots[0]!.certificate.der);
    assert.ok(loaded!.roots.roots[0]!.privateKey!.equals(roots.roots[0]!.privateKey!));
  });

  test(`${name}: who saves over what it has not read is refused, and the other's stays`, async () => {
    await using at = await open();
    const [store, other] = at.stores;
    const roots = await someRoots();
    const version = await store!.save(roots, undefined);
    await assert.rejects(other!.save(await someRoots(), undefined), { code: 'conflict' });
    await other!.save({ ...roots, sequence: 7 }, version);
    await assert.rejects(store!.save({ ...roots, sequence: 8 }, version), { code: 'conflict' });
    assert.equal((await store!.load())!.roots.sequence, 7);
  });

  test(`${name}: of many that save at once one is first`, async () => {
    await using at = await open();
    const [store, other] = at.stores;
    const roots = await someRoots();
    const version = await store!.save(roots, undefined);
    const saves = Array.from({ length: 8 }, (_, index) =>
      (index % 2 === 0 ? store! : other!).save({ ...roots, sequence: index + 1 }, version),
    );
    const results = await Promise.allSettled(saves);
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
    const winner = results.findIndex(({ status }) => status === 'fulfilled');
    assert.equal((await store!.load())!.roots.sequence, winner + 1);
  });
}
