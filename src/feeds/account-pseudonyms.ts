import { createHmac } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';
import { Secret } from '#runtime/secret.ts';
import { transact } from '#runtime/sqlite.ts';
import { replaceAccountIds } from '#tokens/account-id.ts';

interface AccountPseudonymsOptions {
  /** With `plain` no id is hidden, and keys of before go in their time. */
  readonly decisionAccounts: 'plain' | 'hmac';
  /** How long decisions are kept: a key is used as long, and then waits for its records to go. */
  readonly decisionsAgeMax: number;
  readonly clock: Clock;
  readonly random: Random;
}

/** Writes account ids under other names, or as they are. */
export interface Pseudonyms extends Disposable {
  /** A record with a name in place of every account id in it: of `account`, of `sub` and other claims, in the path, in the reason of a failure. */
  hide(record: string): string;
}

export interface AccountKey {
  /** Its number. */
  readonly sequence: number;
  readonly secret: Secret<Uint8Array>;
}

export const accountKeyMigration = `
CREATE TABLE decision_account_keys (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  secret BLOB NOT NULL,
  made_ms INTEGER NOT NULL,
  -- The last decision that may have been stored under it; absent while it is in use.
  last_decision INTEGER
) STRICT;`;

export const accountKeyBytes = 32;
/** 128 bits: no two accounts of a cell share a name. */
const nameDigits = 32;
const rotateEveryMs = 60_000;

/**
 * Writes account ids as an HMAC-SHA256 under a key that nobody else has: the same account has the same name while the key is in use. Whoever
 * has the key can tell whether a name is that of an account; when the last decision that was written under it goes, the key goes.
 */
export class AccountPseudonyms implements Pseudonyms {
  readonly #database: DatabaseSync;
  readonly #options: AccountPseudonymsOptions;
  #key: AccountKey | undefined;
  #rotation: Scheduled;

  constructor(database: DatabaseSync, options: AccountPseudonymsOptions) {
    this.#database = database;
    this.#options = options;
    this.#key = this.#rotate();
    const rotateAndGoOn = () => {
      this.#key = this.#rotate();
      this.#rotation = options.clock.schedule(rotateEveryMs, rotateAndGoOn);
    };
    this.#rotation = options.clock.schedule(rotateEveryMs, rotateAndGoOn);
  }

  [Symbol.dispose](): void {
    this.#rotation.cancel();
  }

  hide(record: string): string {
    return this.#key === undefined ? record : hideAccounts(record, this.#key);
  }

  /** Between batches only: what was written under a key is stored by then. Returns the key in use. */
  #rotate(): AccountKey | undefined {
    const { decisionAccounts, clock, random, decisionsAgeMax } = this.#options;
    const now = clock.now();
    return transact(this.#database, () => {
      this.#database.exec(`
        DELETE FROM decision_account_keys
        WHERE last_decision < coalesce((SELECT min(sequence) FROM decisions), last_decision + 1)`);
      const inUse = this.#newest();
      const isOn = decisionAccounts === 'hmac';
      if (isOn && inUse !== undefined && now - inUse.madeMs < decisionsAgeMax) return inUse;
      this.#database.exec(`
        UPDATE decision_account_keys SET last_decision = coalesce((SELECT max(sequence) FROM decisions), 0)
        WHERE last_decision IS NULL`);
      if (!isOn) return undefined;
      this.#database
        .prepare('INSERT INTO decision_account_keys (secret, made_ms) VALUES (?, ?)')
        .run(random.bytes(accountKeyBytes), now);
      return this.#newest();
    });
  }

  #newest(): (AccountKey & { readonly madeMs: number }) | undefined {
    const row = this.#database
      .prepare('SELECT sequence, secret, made_ms FROM decision_account_keys WHERE last_decision IS NULL')
      .get() as { sequence: number; secret: Uint8Array; made_ms: number } | undefined;
    return row && { sequence: row.sequence, secret: new Secret(row.secret), madeMs: row.made_ms };
  }
}

export function hideAccounts(record: string, key: AccountKey): string {
  return replaceAccountIds(record, (account) => nameOf(account, key));
}

function nameOf(account: string, { sequence, secret }: AccountKey): string {
  const digest = createHmac('sha256', secret.reveal()).update(account).digest('hex');
  return `hmac-${sequence}-${digest.slice(0, nameDigits)}`;
}
