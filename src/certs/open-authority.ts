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

interface OpenAuthorityOptions {
  readonly trustDomain: TrustDomain;
  /** An operator's own, in place of ours. */
  readonly operatorRoot?: RootSigner | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** An authority, and the roots that it is signed by. */
interface OpenedAuthority extends AsyncDisposable {
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
  const { trustDomain, operatorRoot, logger } = options;
  await using opening = new AsyncDisposableStack();
  const roots = opening.use(
    operatorRoot === undefined
      ? await RootKeeper.open({
          ...options,
          store: rootStoreIn(config.stateDir, trustDomain),
          rootLifetimeMs: config.rootLifetime,
          rules: {
            beginAfter: config.rootRotateAfter,
            publishMsMin: config.rootPublishMin,
            svidLifetimeMs: config.svidLifetime,
          },
        })
      : fixedRoot(operatorRoot, options),
  );
  const authority = opening.use(
    await Authority.create({
      ...options,
      bundle: roots.bundle,
      intermediates: roots.intermediates,
      svidLifetimeMs: config.svidLifetime,
    }),
  );
  const write = async (): Promise<void> => void (await writeBundle(config.stateDir, roots.bundle.current));
  let writing: Promise<void> = write();
  await writing;
  const unsubscribe = roots.bundle.subscribe(() => {
    writing = writing
      .then(write)
      .catch((error: unknown) => logger.error('the trust bundle cannot be stored', { error }));
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
