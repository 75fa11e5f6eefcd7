import type { DatabaseSync } from 'node:sqlite';
import type { JoinTokenStore, StoredJoinToken } from './join-token-store.ts';
import type { SpiffeId } from './spiffe-id.ts';

/** One migration of whichever database holds join tokens: put it among the `migrations` of `openDatabase`. */
export const joinTokenMigration = `
  CREATE TABLE join_token (
    hash TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    redeemed_at INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX join_token_expires_at ON join_token (expires_at);
`;

interface Row {
  readonly hash: string;
  readonly id: string;
  readonly created_at: number;
  readonly expires_at: number;
  readonly redeemed_at: number | null;
}

/** Join tokens in a database whose `synchronous` is FULL (`openDatabase`); it must have run `joinTokenMigration`. */
export function sqliteJoinTokenStore(database: DatabaseSync): JoinTokenStore {
  const insert = database.prepare('INSERT INTO join_token (hash, id, created_at, expires_at) VALUES (?, ?, ?, ?)');
  const redeem = database.prepare(
    'UPDATE join_token SET redeemed_at = ?1 WHERE hash = ?2 AND redeemed_at IS NULL AND expires_at > ?1 RETURNING id',
  );
  const find = database.prepare('SELECT * FROM join_token WHERE hash = ?');
  const deleteExpired = database.prepare('DELETE FROM join_token WHERE expires_at <= ?');
  const count = database.prepare('SELECT count(*) AS count FROM join_token');
  return {
    insert: ({ hash, id, createdAt, expiresAt }) => void insert.run(hash, id, createdAt, expiresAt),
    // IDs in the table were parsed before they were put there.
    redeem: (hash, nowMs) => (redeem.get(nowMs, hash) as { id: SpiffeId } | undefined)?.id,
    find: (hash) => fromRow(find.get(hash) as unknown as Row | undefined),
    deleteExpired: (nowMs) => void deleteExpired.run(nowMs),
    count: () => (count.get() as { count: number }).count,
  };
}

function fromRow(row: Row | undefined): StoredJoinToken | undefined {
  if (row === undefined) return undefined;
  return {
    hash: row.hash,
    id: row.id as SpiffeId,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    redeemedAt: row.redeemed_at ?? undefined,
  };
}
