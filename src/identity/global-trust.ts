import { join } from 'node:path';
import type { Authority } from '#certs/authority.ts';
import { openAuthority } from '#certs/open-authority.ts';
import { ownSvid, ownSvidOnDisk } from '#certs/own-svid.ts';
import { adminId, identityId } from '#certs/reserved-ids.ts';
import type { RootHolder } from '#certs/root-holder.ts';
import { bundlesOf } from '#certs/trust-bundle.ts';
import { type TlsIdentity, watchTlsIdentity } from '#net/tls-identity.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import type { CellDirectory } from '#tokens/cell-directory.ts';
import type { IdentityConfig } from './settings.ts';
import type { ProcessDependencies } from './start-identity.ts';

/** The authority of the global trust domain, and who identity itself is. */
export interface GlobalTrust {
  readonly authority: Authority;
  readonly roots: RootHolder;
  readonly identity: Watch<TlsIdentity>;
  /** Takes the roots of the registered cells into account, whose control planes call here. */
  setCells(cells: CellDirectory): void;
  close(): Promise<void>;
}

/** What operators of this machine find in the state directory. */
const adminDirectory = 'admin';

/** @throws CellmeshError `root_expired`, or what reading the roots throws */
export async function openGlobalTrust(
  config: IdentityConfig,
  registered: CellDirectory,
  dependencies: ProcessDependencies,
  signal: AbortSignal,
): Promise<GlobalTrust> {
  const { trustDomain, stateDir, region, operator } = config;
  await using opening = new AsyncDisposableStack();
  const { authority, roots } = opening.use(await openAuthority(config, { trustDomain, ...dependencies }));
  let cells = registered;
  const all = () => bundlesOf(roots.bundle.current, ...[...cells.values()].map(({ bundle }) => bundle));
  const bundles = new WatchSource(all());
  opening.defer(roots.bundle.subscribe(() => bundles.set(all())));
  const svid = await ownSvid({ authority, id: identityId(trustDomain, region), signal, ...dependencies });
  const admin = { authority, id: adminId(trustDomain, operator), signal, ...dependencies };
  opening.use(await ownSvidOnDisk(join(stateDir, adminDirectory), bundles, admin));
  const own = watchTlsIdentity(svid, bundles);
  opening.defer(() => own.close());
  const owned = opening.move();
  return {
    authority,
    roots,
    identity: own.identity,
    setCells(known) {
      cells = known;
      bundles.set(all());
    },
    close: () => owned.disposeAsync(),
  };
}
