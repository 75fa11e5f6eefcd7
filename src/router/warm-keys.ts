import { createCipheriv, createDecipheriv } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createPrivateFile, exists, readPrivateFile, writePrivateFile } from '#certs/private-file.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { Secret } from '#runtime/secret.ts';
import { MatchCache, type RememberedMatch } from './match-cache.ts';

interface WarmKeysOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const keyFile = 'warm-keys.key';
const sealedFile = 'warm-keys.sealed';
const storeEveryMs = 5_000;
const nonceBytes = 12;
const tagBytes = 16;
const keyBytes = 32;

/**
 * Brings the match cache over a restart, so that a router which comes back while identity is away still knows the keys that it knew: the file
 * holds HMACs under a key of its own, sealed with AES-256-GCM under another, and neither secrets nor digests of them (IDENTITY B.6).
 */
export class WarmKeys implements AsyncDisposable {
  readonly cache: MatchCache;
  readonly #options: WarmKeysOptions;
  readonly #keys: Keys;
  #storedChanges = 0;
  #timer: Scheduled;
  #storing: Promise<void> = Promise.resolve();

  static async open(options: WarmKeysOptions): Promise<WarmKeys> {
    const keys = await openKeys(options);
    let remembered: readonly RememberedMatch[] = [];
    try {
      const path = join(options.directory, sealedFile);
      if (await exists(path)) remembered = unseal(await readFile(path, 'utf8'), keys.sealing);
    } catch (error) {
      options.logger.warn('warm keys cannot be read; each key is verified anew', { reason: messageOf(error) });
    }
    return new WarmKeys(options, keys, remembered);
  }

  private constructor(options: WarmKeysOptions, keys: Keys, remembered: readonly RememberedMatch[]) {
    this.#options = options;
    this.#keys = keys;
    this.cache = new MatchCache(keys.match, remembered);
    this.#timer = this.#schedule();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer.cancel();
    this.#store();
    await this.#storing;
  }

  #schedule(): Scheduled {
    return this.#options.clock.schedule(storeEveryMs, () => {
      this.#store();
      this.#timer = this.#schedule();
    });
  }

  #store(): void {
    const { changes } = this.cache;
    if (changes === this.#storedChanges) return;
    this.#storedChanges = changes;
    const { directory, random, logger } = this.#options;
    const text = seal(this.cache.entries(), this.#keys.sealing, random);
    this.#storing = this.#storing
      .then(() => writePrivateFile(join(directory, sealedFile), text))
      .catch((error: unknown) => logger.error('warm keys cannot be stored', { reason: messageOf(error) }));
  }
}

interface Keys {
  readonly match: Secret<Buffer>;
  readonly sealing: Secret<Buffer>;
}

async function openKeys({ directory, random }: WarmKeysOptions): Promise<Keys> {
  const path = join(directory, keyFile);
  if (!(await exists(path))) await createPrivateFile(path, random.bytes(2 * keyBytes).toString('hex'));
  const bytes = Buffer.from(await readPrivateFile(path), 'hex');
  return { match: new Secret(bytes.subarray(0, keyBytes)), sealing: new Secret(bytes.subarray(keyBytes)) };
}

function seal(entries: readonly RememberedMatch[], key: Secret<Buffer>, random: Random): string {
  const nonce = random.bytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key.reveal(), nonce);
  const rows = JSON.stringify(entries.map(({ locator, version, mac }) => [locator, version, mac.toString('base64')]));
  const sealed = Buffer.concat([cipher.update(rows, 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64');
}

function unseal(text: string, key: Secret<Buffer>): readonly RememberedMatch[] {
  const bytes = Buffer.from(text, 'base64');
  const decipher = createDecipheriv('aes-256-gcm', key.reveal(), bytes.subarray(0, nonceBytes));
  decipher.setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
  const rows = Buffer.concat([decipher.update(bytes.subarray(nonceBytes + tagBytes)), decipher.final()]).toString(
    'utf8',
  );
  return (JSON.parse(rows) as [string, number, string][]).map(([locator, version, mac]) => ({
    locator,
    version,
    mac: Buffer.from(mac, 'base64'),
  }));
}
