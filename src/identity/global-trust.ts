import { join } from 'node:path';
import { Authority } from '#certs/authority.ts';
import { ownSvid, ownSvidOnDisk } from '#certs/own-svid.ts';
import { writePrivateFile } from '#certs/private-file.ts';
import { adminId, identityId } from '#certs/reserved-ids.ts';
import { openRootSigner } from '#certs/root-signer-file.ts';
import { bundlesOf, serializeTrustBundle } from '#certs/trust-bundle.ts';
import { type TlsIdentity, watchTlsIdentity } from '#net/tls-identity.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import type { CellDirectory } from '#tokens/cell-directory.ts';
import type { IdentityConfig } from './settings.ts';
import type { ProcessDependencies } from './start-identity.ts';

/** The authority of the global trust domain, and who identity itself is. */
interface GlobalTrust {
  readonly authority: Authority;
  readonly identity: Watch<TlsIdentity>;
  /** Takes the roots of the registered cells into account, whose control planes call here. */
  setCells(cells: CellDirectory): void;
  close(): Promise<void>;
}

/** What operators and control planes of this machine find in the state directory. */
const identityFiles = { trustBundle: 'trust-bundle.json', admin: 'admin' } as const;

export async function openGlobalTrust(
  config: IdentityConfig,
  cells: CellDirectory,
  dependencies: ProcessDependencies,
  signal: AbortSignal,
): Promise<GlobalTrust> {
  const { trustDomain, stateDir, region, operator, svidLifetime } = config;
  const { clock, random } = dependencies;
  const rootSigner = await openRootSigner(join(stateDir, 'root'), { trustDomain, clock, random });
  const authority = await Authority.create({ trustDomain, rootSigner, clock, random, svidLifetimeMs: svidLifetime });
  const all = (known: CellDirectory) =>
    bundlesOf(authority.bundle.current, ...[...known.values()].map(({ bundle }) => bundle));
  const bundles = new WatchSource(all(cells));
  const svid = await ownSvid({ authority, id: identityId(trustDomain, region), signal, ...dependencies });
  await writePrivateFile(join(stateDir, identityFiles.trustBundle), serializeTrustBundle(authority.bundle.current));
  const admin = { authority, id: adminId(trustDomain, operator), signal, ...dependencies };
  const adminOnDisk = await ownSvidOnDisk(join(stateDir, identityFiles.admin), bundles, admin);
  const own = watchTlsIdentity(svid, bundles);
  return {
    authority,
    identity: own.identity,
    setCells: (known) => bundles.set(all(known)),
    async close() {
      own.close();
      await adminOnDisk[Symbol.asyncDispose]();
    },
  };
}
