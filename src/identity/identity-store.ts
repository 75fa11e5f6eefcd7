import type { DatabaseSync } from 'node:sqlite';
import { parseSpiffeId, type SpiffeId } from '#certs/spiffe-id.ts';
import { serializeTrustBundle } from '#certs/trust-bundle.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { transact } from '#runtime/sqlite.ts';
import { type AccountId, parseAccountId } from '#tokens/account-id.ts';
import type { AccountMap, AccountPlace } from '#tokens/account-map.ts';
import { type CellDirectory, type CellEntry, parseCellEntry } from '#tokens/cell-directory.ts';
import { type CellId, parseCellId } from '#tokens/cell-id.ts';
import type { ApiKeyState, ApiKeyStatus } from '#tokens/key-status.ts';
import { parseScopeList } from '#tokens/scope.ts';

export const identityMigration = `
CREATE TABLE cells (
  cell_id TEXT PRIMARY KEY,
  trust_domain TEXT NOT NULL UNIQUE,
  bundle TEXT NOT NULL,
  host TEXT NOT NULL,
  port INTEGER NOT NULL
) STRICT;
CREATE TABLE accounts (
  account_id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  cell_id TEXT NOT NULL REFERENCES cells (cell_id),
  cell_epoch INTEGER NOT NULL,
  generation INTEGER NOT NULL
) STRICT;
CREATE TABLE api_keys (
  key_id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (account_id),
  locator TEXT NOT NULL UNIQUE,
  digest TEXT NOT NULL,
  scopes TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('active', 'retiring', 'revoked')),
  not_after INTEGER,
  version INTEGER NOT NULL
) STRICT;
CREATE INDEX api_keys_by_account ON api_keys (account_id);
CREATE TABLE router_keys (
  kid TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  jwk TEXT NOT NULL,
  registered_at INTEGER NOT NULL
) STRICT;`;

export interface AccountRecord extends AccountPlace {
  readonly accountId: AccountId;
  readonly name: string;
}

export interface ApiKeyRecord extends ApiKeyStatus {
  /** PHC string. */
  readonly digest: string;
}

interface RouterKey {
  readonly kid: string;
  readonly owner: SpiffeId;
  readonly jwk: string;
}

/** Two, so that a key can be replaced without a gap. */
const usableKeysMax = 2;
/** Keys of one router: the one in use, and those that its last restarts without a disk left behind. */
const routerKeysMax = 4;

type Row = Readonly<Record<string, string | number | null>>;

/** Accounts, keys and cells. What a method has returned from is durable. */
export class IdentityStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** @throws CellmeshError `not_found`: the cell is not registered */
  addAccount(account: AccountRecord): void {
    this.#requireCell(account.cellId);
    const { accountId, name, cellId, cellEpoch, generation } = account;
    this.#run(
      'INSERT INTO accounts (account_id, name, cell_id, cell_epoch, generation) VALUES (?, ?, ?, ?, ?)',
      accountId,
      name,
      cellId,
      cellEpoch,
      generation,
    );
  }

  account(id: AccountId): AccountRecord {
    const row = this.#get('SELECT * FROM accounts WHERE account_id = ?', id);
    if (row === undefined) throw new CellmeshError('not_found', `there is no account ${id}`);
    return accountOf(row);
  }

  accounts(): readonly AccountRecord[] {
    return this.#all('SELECT * FROM accounts ORDER BY account_id').map(accountOf);
  }

  accountMap(): AccountMap {
    return new Map(
      this.accounts().map(({ accountId, cellId, cellEpoch, generation }) => [
        accountId,
        { cellId, cellEpoch, generation },
      ]),
    );
  }

  /**
   * Puts the account into a cell, if its epoch is still `cellEpoch`; the new one is higher by one.
   * @throws CellmeshError `not_found`, `conflict`: somebody else placed it in between
   */
  placeAccount(id: AccountId, cellId: CellId, cellEpoch: number): AccountRecord {
    return transact(this.#database, () => {
      this.#requireCell(cellId);
      const { cellEpoch: current } = this.account(id);
      if (current !== cellEpoch)
        throw new CellmeshError('conflict', `the epoch of ${id} is ${current}, not ${cellEpoch}; read it again`);
      this.#run('UPDATE accounts SET cell_id = ?, cell_epoch = cell_epoch + 1 WHERE account_id = ?', cellId, id);
      return this.account(id);
    });
  }

  /** @throws CellmeshError `not_found`, `key_limit`: the account has two usable keys already */
  addKey(key: ApiKeyRecord, nowMs: number): void {
    transact(this.#database, () => {
      this.account(key.accountId);
      const usable = this.keysOf(key.accountId).filter((known) => isUsable(known, nowMs));
      if (usable.length >= usableKeysMax) {
        throw new CellmeshError(
          'key_limit',
          `${key.accountId} has ${usableKeysMax} usable keys (${usable.map(({ keyId }) => keyId).join(', ')}); revoke one first`,
        );
      }
      this.#insertKey(key);
    });
  }

  /** The old key ends at `endsAt`, the new one begins, in one step. @throws CellmeshError `not_found`, `key_limit` */
  rotateKey(keyId: string, successor: ApiKeyRecord, endsAt: number, nowMs: number): void {
    transact(this.#database, () => {
      this.#run(
        "UPDATE api_keys SET state = 'retiring', not_after = ? WHERE key_id = ? AND state = 'active'",
        endsAt,
        keyId,
      );
      const usable = this.keysOf(successor.accountId).filter((known) => isUsable(known, nowMs));
      if (usable.length >= usableKeysMax)
        throw new CellmeshError(
          'key_limit',
          `${successor.accountId} has ${usableKeysMax} usable keys; revoke one first`,
        );
      this.#insertKey(successor);
    });
  }

  revokeKey(keyId: string): ApiKeyRecord {
    this.key(keyId);
    this.#run("UPDATE api_keys SET state = 'revoked' WHERE key_id = ?", keyId);
    return this.key(keyId);
  }

  /** @throws CellmeshError `not_found` */
  key(keyId: string): ApiKeyRecord {
    const row = this.#get('SELECT * FROM api_keys WHERE key_id = ?', keyId);
    if (row === undefined) throw new CellmeshError('not_found', `there is no key ${keyId.slice(0, 40)}`);
    return keyOf(row);
  }

  keyByLocator(locator: string): ApiKeyRecord | undefined {
    const row = this.#get('SELECT * FROM api_keys WHERE locator = ?', locator);
    return row === undefined ? undefined : keyOf(row);
  }

  keysOf(accountId: AccountId): readonly ApiKeyRecord[] {
    return this.#all('SELECT * FROM api_keys WHERE account_id = ? ORDER BY key_id', accountId).map(keyOf);
  }

  keyStatuses(): ReadonlyMap<string, ApiKeyStatus> {
    return new Map(
      this.#all('SELECT * FROM api_keys ORDER BY key_id').map((row) => [String(row['locator']), statusOf(keyOf(row))]),
    );
  }

  /** Registers a cell, or says anew where and by which roots it is known. */
  putCell({ cellId, trustDomain, bundle, host, port }: CellEntry): void {
    const known = this.cells().get(cellId);
    if (known !== undefined && known.trustDomain !== trustDomain)
      throw new CellmeshError('conflict', `${cellId} is ${known.trustDomain} already`);
    this.#run(
      'INSERT INTO cells (cell_id, trust_domain, bundle, host, port) VALUES (?, ?, ?, ?, ?) ON CONFLICT (cell_id) DO UPDATE SET bundle = excluded.bundle, host = excluded.host, port = excluded.port',
      cellId,
      trustDomain,
      serializeTrustBundle(bundle),
      host,
      port,
    );
  }

  cells(): CellDirectory {
    const cells = this.#all('SELECT * FROM cells ORDER BY cell_id').map((row) =>
      parseCellEntry({ ...row, cellId: row['cell_id'], trustDomain: row['trust_domain'] }),
    );
    return new Map(cells.map((cell) => [cell.cellId, cell]));
  }

  /** A router has few keys: the oldest beyond that is forgotten, so that a router without a disk cannot fill the set. */
  putRouterKey({ kid, owner, jwk }: RouterKey, nowMs: number): void {
    transact(this.#database, () => {
      this.#run(
        'INSERT OR REPLACE INTO router_keys (kid, owner, jwk, registered_at) VALUES (?, ?, ?, ?)',
        kid,
        owner,
        jwk,
        nowMs,
      );
      this.#run(
        'DELETE FROM router_keys WHERE owner = ? AND kid NOT IN (SELECT kid FROM router_keys WHERE owner = ? ORDER BY registered_at DESC LIMIT ?)',
        owner,
        owner,
        routerKeysMax,
      );
    });
  }

  routerKeys(): readonly RouterKey[] {
    return this.#all('SELECT * FROM router_keys ORDER BY kid').map(({ kid, owner, jwk }) => ({
      kid: String(kid),
      owner: parseSpiffeId(String(owner)),
      jwk: String(jwk),
    }));
  }

  #insertKey({ keyId, accountId, locator, digest, scopes, state, notAfter, version }: ApiKeyRecord): void {
    this.#run(
      'INSERT INTO api_keys (key_id, account_id, locator, digest, scopes, state, not_after, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      keyId,
      accountId,
      locator,
      digest,
      scopes.text,
      state,
      notAfter ?? null,
      version,
    );
  }

  #requireCell(cellId: CellId): void {
    if (this.cells().has(cellId)) return;
    throw new CellmeshError('not_found', `there is no cell ${cellId}; register it first (cellmesh cells register)`);
  }

  #run(sql: string, ...values: (string | number | null)[]): void {
    this.#database.prepare(sql).run(...values);
  }

  #get(sql: string, ...values: (string | number)[]): Row | undefined {
    return this.#database.prepare(sql).get(...values) as Row | undefined;
  }

  #all(sql: string, ...values: (string | number)[]): readonly Row[] {
    return this.#database.prepare(sql).all(...values) as unknown as Row[];
  }
}

/** Why a key cannot be used now, if it cannot. */
export function unusableBecause(
  { state, notAfter }: ApiKeyStatus,
  nowMs: number,
): 'key_revoked' | 'key_expired' | undefined {
  if (state === 'revoked') return 'key_revoked';
  return notAfter !== undefined && notAfter <= nowMs ? 'key_expired' : undefined;
}

function isUsable(key: ApiKeyStatus, nowMs: number): boolean {
  return unusableBecause(key, nowMs) === undefined;
}

function statusOf({ digest: _, ...status }: ApiKeyRecord): ApiKeyStatus {
  return status;
}

function accountOf(row: Row): AccountRecord {
  return {
    accountId: parseAccountId(String(row['account_id'])),
    name: String(row['name']),
    cellId: parseCellId(String(row['cell_id'])),
    cellEpoch: Number(row['cell_epoch']),
    generation: Number(row['generation']),
  };
}

function keyOf(row: Row): ApiKeyRecord {
  const notAfter = row['not_after'];
  return {
    keyId: String(row['key_id']),
    accountId: parseAccountId(String(row['account_id'])),
    locator: String(row['locator']),
    digest: String(row['digest']),
    scopes: parseScopeList(String(row['scopes'])),
    state: String(row['state']) as ApiKeyState,
    ...(typeof notAfter === 'number' ? { notAfter } : {}),
    version: Number(row['version']),
  };
}
