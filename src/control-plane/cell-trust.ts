import { join } from 'node:path';
import { Authority } from '#certs/authority.ts';
import { ownSvid, ownSvidOnDisk } from '#certs/own-svid.ts';
import { readTextFile, writePrivateFile } from '#certs/private-file.ts';
import { adminId, controlPlaneId } from '#certs/reserved-ids.ts';
import type { RootSigner } from '#certs/root-signer.ts';
import { openRootSigner, rootSignerFromFiles } from '#certs/root-signer-file.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import {
  bundlesOf,
  parseTrustBundle,
  serializeTrustBundle,
  type TrustBundle,
  type TrustBundles,
} from '#certs/trust-bundle.ts';
import { type TlsIdentity, watchTlsIdentity } from '#net/tls-identity.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import type { CellConfig } from './settings.ts';
import type { ProcessDependencies } from './start-control-plane.ts';

/** The cell's authority, and who the control plane itself is. */
export interface CellTrust {
  readonly authority: Authority;
  readonly bundles: Watch<TrustBundles>;
  readonly identity: Watch<TlsIdentity>;
  close(): Promise<void>;
}

/** What operators and sidecars of this machine find in the state directory. */
const controlPlaneFiles = { trustBundle: 'trust-bundle.json', admin: 'admin' } as const;

/**
 * Opens the root (made at the first start, or the operator's), and issues what the process itself and its first administrator need.
 * @throws CellmeshError `config_invalid`, or what reading keys and bundles throws
 */
export async function openCellTrust(
  config: CellConfig,
  trustDomain: TrustDomain,
  dependencies: ProcessDependencies,
  signal: AbortSignal,
): Promise<CellTrust> {
  const { clock, random } = dependencies;
  const rootSigner = await openRoot(config, trustDomain, dependencies);
  const authority = await Authority.create({
    trustDomain,
    rootSigner,
    clock,
    random,
    svidLifetimeMs: config.svidLifetime,
  });
  const bundles = new WatchSource(bundlesOf(authority.bundle.current, ...(await readGlobalBundle(config))));
  const svid = await ownSvid({ authority, id: controlPlaneId(trustDomain), signal, ...dependencies });
  await writePrivateFile(
    join(config.stateDir, controlPlaneFiles.trustBundle),
    serializeTrustBundle(authority.bundle.current),
  );
  const admin = { authority, id: adminId(trustDomain, config.operator), signal, ...dependencies };
  const adminOnDisk = await ownSvidOnDisk(join(config.stateDir, controlPlaneFiles.admin), bundles, admin);
  const own = watchTlsIdentity(svid, bundles);
  return {
    authority,
    bundles,
    identity: own.identity,
    async close() {
      own.close();
      await adminOnDisk[Symbol.asyncDispose]();
    },
  };
}

/** Without it the cell has no customers from outside. */
async function readGlobalBundle({ globalBundle, globalTrustDomain, identity }: CellConfig): Promise<TrustBundle[]> {
  if (globalBundle !== undefined) return [parseTrustBundle(await readTextFile(globalBundle), globalTrustDomain)];
  if (identity === undefined) return [];
  throw new CellmeshError('config_invalid', '--identity is of the global trust domain: it needs --global-bundle');
}

function openRoot(
  { rootKey, rootCertificate, stateDir }: CellConfig,
  trustDomain: TrustDomain,
  { clock, random }: ProcessDependencies,
): Promise<RootSigner> {
  if (rootKey === undefined && rootCertificate === undefined)
    return openRootSigner(join(stateDir, 'root'), { trustDomain, clock, random });
  if (rootKey === undefined || rootCertificate === undefined) {
    throw new CellmeshError(
      'config_invalid',
      '--root-key and --root-certificate belong together; one of them is missing',
    );
  }
  return rootSignerFromFiles({ keyFile: rootKey, certificateFile: rootCertificate, trustDomain });
}
