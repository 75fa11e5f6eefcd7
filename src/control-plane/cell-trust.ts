import { join } from 'node:path';
import type { Authority } from '#certs/authority.ts';
import { openAuthority } from '#certs/open-authority.ts';
import { ownSvid, ownSvidOnDisk } from '#certs/own-svid.ts';
import { adminId, controlPlaneId } from '#certs/reserved-ids.ts';
import type { RootHolder } from '#certs/root-holder.ts';
import type { RootSigner } from '#certs/root-signer.ts';
import { rootSignerFromFiles } from '#certs/root-signer-file.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import { bundlesOf, type TrustBundles } from '#certs/trust-bundle.ts';
import { type TlsIdentity, watchTlsIdentity } from '#net/tls-identity.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import { GlobalBundle } from './global-bundle.ts';
import type { OpenedCell } from './open-cell.ts';
import type { CellConfig } from './settings.ts';
import type { ProcessDependencies } from './start-control-plane.ts';

/** The cell's authority, and who the control plane itself is. */
export interface CellTrust {
  readonly authority: Authority;
  readonly roots: RootHolder;
  /** Of the global trust domain; without one a cell has no routers. */
  readonly globalBundle: GlobalBundle | undefined;
  readonly bundles: Watch<TrustBundles>;
  readonly identity: Watch<TlsIdentity>;
  close(): Promise<void>;
}

/** What operators of this machine find in the state directory. */
const adminDirectory = 'admin';

/**
 * Opens the roots (made at the first start, or the operator's; of a cluster those that its replicas share), and issues what the process itself and its first administrator need.
 * @throws CellmeshError `config_invalid`, `root_expired`, or what reading keys and bundles throws
 */
export async function openCellTrust(
  { config, connection }: Pick<OpenedCell, 'config' | 'connection'>,
  trustDomain: TrustDomain,
  dependencies: ProcessDependencies,
  signal: AbortSignal,
): Promise<CellTrust> {
  await using opening = new AsyncDisposableStack();
  const globalBundle = await GlobalBundle.open(config, dependencies.logger);
  const readOperatorRoot = operatorRootOf(config, trustDomain);
  const options = { trustDomain, ...dependencies };
  const { authority, roots } = opening.use(
    connection === undefined
      ? await openAuthority(config, { ...options, operatorRoot: await readOperatorRoot?.() })
      : await (await import('./roots/open-cluster-authority.ts')).openClusterAuthority(config, {
          ...{ ...options, connection, readOperatorRoot, signal },
        }),
  );
  const all = () =>
    bundlesOf(roots.bundle.current, ...(globalBundle === undefined ? [] : [globalBundle.bundle.current]));
  const bundles = new WatchSource(all());
  for (const one of [roots.bundle, globalBundle?.bundle]) {
    if (one !== undefined) opening.defer(one.subscribe(() => bundles.set(all())));
  }
  const svid = await ownSvid({ authority, id: controlPlaneId(trustDomain), signal, ...dependencies });
  const admin = { authority, id: adminId(trustDomain, config.operator), signal, ...dependencies };
  opening.use(await ownSvidOnDisk(join(config.stateDir, adminDirectory), bundles, admin));
  const own = watchTlsIdentity(svid, bundles);
  opening.defer(() => own.close());
  const owned = opening.move();
  return { authority, roots, globalBundle, bundles, identity: own.identity, close: () => owned.disposeAsync() };
}

/** Reads the operator's own; undefined when the roots are ours. @throws CellmeshError `config_invalid` */
function operatorRootOf(
  { rootKey: keyFile, rootCertificate: certificateFile }: CellConfig,
  trustDomain: TrustDomain,
): (() => Promise<RootSigner>) | undefined {
  if (keyFile === undefined && certificateFile === undefined) return undefined;
  if (keyFile === undefined || certificateFile === undefined) {
    throw new CellmeshError(
      'config_invalid',
      '--root-key and --root-certificate belong together; one of them is missing',
    );
  }
  return () => rootSignerFromFiles({ keyFile, certificateFile, trustDomain });
}
