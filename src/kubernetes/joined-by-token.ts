import type { DatabaseSync } from 'node:sqlite';
import type { SpiffeId } from '#certs/spiffe-id.ts';

export const joinedByTokenMigration = `
CREATE TABLE joined_by_token (
  id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;`;

/** Port: who has joined by a token, which is good once: whoever has not must show evidence at each renewal. */
export interface JoinedByToken {
  add(id: SpiffeId): Promise<void>;
  has(id: SpiffeId): Promise<boolean>;
}

export function joinedByTokenInDatabase(database: DatabaseSync): JoinedByToken {
  const remember = database.prepare('INSERT OR IGNORE INTO joined_by_token (id) VALUES (?)');
  const find = database.prepare('SELECT 1 FROM joined_by_token WHERE id = ?');
  return {
    add: async (id) => void remember.run(id),
    has: async (id) => find.get(id) !== undefined,
  };
}
