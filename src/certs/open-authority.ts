import { join } from 'node:path';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { Authority } from './authority.ts';
import { fixedRoot } from './fixed-root.ts';
import { writePrivateFile } from './private-file.ts';
import type { RootHolder } from './root-holder.ts';
import { RootKeeper } from './root-keeper.ts';
import type { RootSigner } from './root-signer.ts';
import type { RootStore } from './root-store.ts';
import { FileRootStore } from './root-store-file.ts';
import type { TrustDomain } from './spiffe-id.ts';
import { serializeTrustBundle, type TrustBundle } from './trust-bundle.ts';

interface RootConfig {
  readonly stateDir: string;
  readonly svidLifetime: number;
  readonly rootLifetime: number;
  readonly rootRotateAfter: number;
  readonly rootPublishMin: number;
}

export interface OpenAuthorityOptions {
  readonly trustDomain: TrustDomain;
  /** An operator's own, in place of ours. */
  readonly operatorRoot?: RootSigner | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** An authority, and the roots that it is signed by. */
export interface OpenedAuthority extends AsyncDisposable {
  readonly authority: Authority;
  readonly roots: RootHolder;
}

/** What those who are to trust this authority are given. */
const bundleFile = 'trust-bundle.json';

/**
 * The roots of a state directory (`root/`) and the authority below them; its bundle lies in `trust-bundle.json` and is kept up to date.
 * @throws CellmeshError `root_expired`, `svid_not_issued`, or what reading the roots throws
 */
export async function openAuthority(config: RootConfig, options: OpenAuthorityOptions): Promise<OpenedAuthority> {
  await using opening = new AsyncDisposableStack();
  const store = rootStoreIn(config.stateDir, options.trustDomain);
  const roots = opening.use(await openRootsIn(store, config, options));
  const { authority } = opening.use(await authorityBelow(roots, config, options));
  const owned = opening.move();
  return { authority, roots, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** The roots that a store keeps, or the operator's own. @throws CellmeshError `root_expired`, `svid_not_issued`, or what reading them throws */
export async function openRootsIn(
  store: RootStore,
  config: RootConfig,
  { operatorRoot, ...options }: OpenAuthorityOptions,
): Promise<RootHolder> {
  if (operatorRoot !== undefined) return fixedRoot(operatorRoot, options);
  const { rootLifetime: rootLifetimeMs, svidLifetime: svidLifetimeMs } = config;
  const rules = { beginAfter: config.rootRotateAfter, publishMsMin: config.rootPublishMin, svidLifetimeMs };
  return RootKeeper.open({ ...options, store, rootLifetimeMs, rules });
}

/** The authority of one process below roots that may lie elsewhere; they are the caller's. @throws CellmeshError `svid_not_issued` */
export async function authorityBelow(
  roots: RootHolder,
  config: RootConfig,
  options: Omit<OpenAuthorityOptions, 'operatorRoot'>,
): Promise<OpenedAuthority> {
  await using opening = new AsyncDisposableStack();
  const { bundle, intermediates } = roots;
  const authority = opening.use(
    await Authority.create({ ...options, bundle, intermediates, svidLifetimeMs: config.svidLifetime }),
  );
  const write = async (): Promise<void> => void (await writeBundle(config.stateDir, bundle.current));
  let writing: Promise<void> = write();
  await writing;
  const unsubscribe = bundle.subscribe(() => {
    writing = writing
      .then(write)
      .catch((error: unknown) => options.logger.error('the trust bundle cannot be stored', { error }));
  });
  opening.defer(async () => {
    unsubscribe();
    await writing;
  });
  const owned = opening.move();
  return { authority, roots, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** @returns the file */
export async function writeBundle(stateDir: string, bundle: TrustBundle): Promise<string> {
  const path = join(stateDir, bundleFile);
  await writePrivateFile(path, serializeTrustBundle(bundle));
  return path;
}

/** Where the roots of an authority on a disk of its own lie. */
export function rootStoreIn(stateDir: string, trustDomain: TrustDomain): FileRootStore {
  return new FileRootStore(join(stateDir, 'root'), trustDomain);
}
