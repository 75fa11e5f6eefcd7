import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Random } from '#runtime/random.ts';
import type { Certificate } from './certificate.ts';
import { nextRoot } from './root-rotation.ts';
import type { RootStore } from './root-store.ts';
import { activeRoot, bundleOf, createRoot, singleRoot } from './roots.ts';
import type { TrustDomain } from './spiffe-id.ts';
import type { TrustBundle } from './trust-bundle.ts';

interface RecoverRootOptions {
  readonly store: RootStore;
  readonly clock: Clock;
  readonly random: Random;
}

interface RecoveredRoot {
  readonly trustDomain: TrustDomain;
  readonly former: Certificate;
  readonly root: Certificate;
  readonly bundle: TrustBundle;
}

/**
 * A new root in the place of one that has ended, for a trust domain in which nothing is good any more. Its bundle counts as newer than the one
 * before.
 * @throws CellmeshError `not_found` where there are no roots, `rotation_refused` while the root is good, or the next one that everybody knows
 */
export async function recoverRoot(options: RecoverRootOptions): Promise<RecoveredRoot> {
  const { store, clock } = options;
  const found = await store.load();
  if (found === undefined) throw new CellmeshError('not_found', 'there are no roots yet');
  const { trustDomain } = found.roots;
  const former = activeRoot(found.roots).certificate;
  if (clock.now() <= former.notAfter) {
    throw new CellmeshError(
      'rotation_refused',
      `the root of ${trustDomain} is good until ${new Date(former.notAfter).toISOString()}: it is replaced without a break by \`cellmesh certs rotate-root\``,
    );
  }
  // As `RootKeeper.open` looks at it: known to everybody, it signs from the next start on.
  const next = nextRoot(found.roots);
  if (next?.phase === 'published' && clock.now() <= next.certificate.notAfter) {
    throw new CellmeshError(
      'rotation_refused',
      `the root of ${trustDomain} has ended, and the next one is known already, good until ${new Date(next.certificate.notAfter).toISOString()}: start its control plane or identity, which goes on with it`,
    );
  }
  const root = await createRoot({ ...options, trustDomain }, 'active');
  const sequence = Math.max(found.roots.sequence + 1, Math.floor(clock.now() / 1000));
  const roots = singleRoot(trustDomain, root, sequence);
  await store.save(roots, found.version);
  return { trustDomain, former, root: root.certificate, bundle: bundleOf(roots) };
}
