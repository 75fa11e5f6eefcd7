import { type AccountKey, accountKeyBytes, hideAccounts, type Pseudonyms } from '#feeds/account-pseudonyms.ts';
import type { decisionStoreSettings } from '#feeds/decision-settings.ts';
import type { Scheduled } from '#runtime/clock.ts';
import type { Config } from '#runtime/config.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import { Secret } from '#runtime/secret.ts';
import { SharedDocument } from './shared-document.ts';
import type { SharedOptions } from './shared-options.ts';

interface ClusterPseudonymsOptions
  extends SharedOptions,
    Pick<Config<typeof decisionStoreSettings>, 'decisionAccounts' | 'decisionsAgeMax'> {
  readonly logger: Logger;
}

interface StoredKey {
  readonly sequence: number;
  /** Base64. */
  readonly secret: string;
  readonly madeMs: number;
}

/** In the order of their numbers; the last is in use. */
type StoredKeys = readonly StoredKey[];

const lookEveryMs = 60_000;
/** So long others may write under a key that has a successor: until they have looked, and what is on its way is stored. */
const settleMs = 2 * lookEveryMs;

/**
 * One name for an account at all replicas: their key lies in the Secret `cellmesh-account-key`. Whoever is first when it is due makes the next one, and
 * the others read it. A replica cannot see what the others have stored, so a key goes when the last decision under it is too old at every one of them.
 */
export class ClusterPseudonyms implements Pseudonyms {
  readonly #options: ClusterPseudonymsOptions;
  readonly #keys: SharedDocument<StoredKeys>;
  #key: AccountKey | undefined;
  #turn: Scheduled | undefined;
  #isOver = false;

  private constructor(options: ClusterPseudonymsOptions) {
    this.#options = options;
    this.#keys = new SharedDocument({
      ...options,
      name: 'cellmesh-account-key',
      read: (document) => (document ?? []) as StoredKeys,
    });
  }

  /**
   * Resolves when there is a key, if ids are to be hidden: without one none could be.
   * @throws CellmeshError when the API server does not answer, or refuses
   */
  static async open(options: ClusterPseudonymsOptions): Promise<ClusterPseudonyms> {
    const opened = new ClusterPseudonyms(options);
    if (options.decisionAccounts === 'hmac') await opened.#look();
    opened.#goOn(lookEveryMs);
    return opened;
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#turn?.cancel();
  }

  hide(record: string): string {
    return this.#key === undefined ? record : hideAccounts(record, this.#key);
  }

  /** Where the API server does not answer, the key of before is used on. */
  #goOn(waitMs: number): void {
    const { clock, logger } = this.#options;
    if (this.#isOver) return;
    this.#turn = clock.schedule(waitMs, async () => {
      try {
        await this.#look();
      } catch (error) {
        logger.warn('the key of account pseudonyms cannot be looked at', { error: messageOf(error) });
      }
      this.#goOn(lookEveryMs);
    });
  }

  async #look(): Promise<void> {
    let keys: StoredKeys = [];
    await this.#keys.change((found) => {
      keys = this.#next(found);
      const isSame = keys.length === found.length && keys.at(-1) === found.at(-1);
      return isSame ? undefined : keys;
    });
    const newest = keys.at(-1);
    if (this.#options.decisionAccounts === 'plain' || newest === undefined) return;
    const { sequence, secret } = newest;
    this.#key = { sequence, secret: new Secret(Buffer.from(secret, 'base64')) };
  }

  /** What there is to be, after what there is. */
  #next(found: StoredKeys): StoredKeys {
    const { decisionAccounts, decisionsAgeMax, clock, random } = this.#options;
    const now = clock.now();
    const kept = found.filter(({ madeMs }, at) => {
      const endedMs = found[at + 1]?.madeMs ?? madeMs + decisionsAgeMax;
      return now < endedMs + decisionsAgeMax + settleMs;
    });
    const newest = found.at(-1);
    const isDue = newest === undefined || now - newest.madeMs >= decisionsAgeMax;
    if (decisionAccounts === 'plain' || !isDue) return kept;
    const secret = Buffer.from(random.bytes(accountKeyBytes)).toString('base64');
    return [...kept, { sequence: (newest?.sequence ?? 0) + 1, secret, madeMs: now }];
  }
}
