import { join } from 'node:path';
import { exists, readTextFile, writePrivateFile } from '#certs/private-file.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import { newerBundle, parseTrustBundle, serializeTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { parseTrustBundles } from '#certs/trust-bundle-map.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import type { CellConfig } from './settings.ts';

type GlobalBundleConfig = Pick<CellConfig, 'globalBundle' | 'globalTrustDomain' | 'identity' | 'stateDir'>;

/** What identity said last. */
const fileName = 'global-trust-bundle.json';

/**
 * Whom to trust of the global trust domain: as the file says that the process was started with, or as identity has said since, whichever is
 * newer. It never goes back, and however long identity is away it does not grow too old.
 */
export class GlobalBundle {
  readonly #bundle: WatchSource<TrustBundle>;
  readonly #path: string;
  readonly #trustDomain: TrustDomain;
  readonly #logger: Logger;

  /** Undefined for a cell without routers. @throws CellmeshError `config_invalid`, `file_unreadable`, `trust_bundle_invalid` */
  static async open(config: GlobalBundleConfig, logger: Logger): Promise<GlobalBundle | undefined> {
    const { globalBundle, globalTrustDomain, identity, stateDir } = config;
    if (globalBundle === undefined) {
      if (identity === undefined) return undefined;
      throw new CellmeshError('config_invalid', '--identity needs --global-bundle: by it identity is known');
    }
    const given = parseTrustBundle(await readTextFile(globalBundle), globalTrustDomain);
    const path = join(stateDir, fileName);
    const told = (await exists(path)) ? parseTrustBundle(await readTextFile(path), globalTrustDomain) : undefined;
    return new GlobalBundle(newerBundle(given, told), path, logger);
  }

  private constructor(bundle: TrustBundle, path: string, logger: Logger) {
    this.#bundle = new WatchSource(bundle);
    this.#trustDomain = bundle.trustDomain;
    this.#path = path;
    this.#logger = logger;
  }

  get bundle(): Watch<TrustBundle> {
    return this.#bundle;
  }

  /** What identity says, as a document of its feed. @throws CellmeshError `trust_bundle_invalid` */
  apply(document: string): void {
    const told = parseTrustBundles(document).get(this.#trustDomain);
    if (told === undefined)
      throw new CellmeshError('trust_bundle_invalid', `there is no bundle of ${this.#trustDomain} in it`);
    if (newerBundle(this.#bundle.current, told) !== told) return;
    this.#bundle.set(told);
    writePrivateFile(this.#path, serializeTrustBundle(told)).catch((error: unknown) =>
      this.#logger.error('the global trust bundle cannot be stored', { reason: messageOf(error) }),
    );
  }
}
