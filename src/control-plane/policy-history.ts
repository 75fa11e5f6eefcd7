import type { DatabaseSync } from 'node:sqlite';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { transact } from '#runtime/sqlite.ts';
import type { LoadedCell } from './policy-source.ts';

export const policyHistoryMigration = `
CREATE TABLE policy_sources (
  version TEXT PRIMARY KEY,
  files BLOB NOT NULL
) STRICT;
CREATE TABLE policy_in_force (
  sequence INTEGER PRIMARY KEY,
  version TEXT NOT NULL REFERENCES policy_sources (version),
  since_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX policy_in_force_by_version ON policy_in_force (version);`;

interface VersionInForce {
  readonly version: string;
  /** Until the next one came. */
  readonly sinceMs: number;
}

/** A change of policy every minute for a week. */
export const changesMax = 10_000;
/** Of compressed sources: a cell of a thousand services has some 100 KB. */
const sourceBytesMax = 256 * 1024 * 1024;

/** The manifests of every version that was in force, so that a decision can be understood by the policy that made it. */
export class PolicyHistory {
  readonly #database: DatabaseSync;
  readonly #bytesMax: number;

  constructor(database: DatabaseSync, { bytesMax = sourceBytesMax }: { bytesMax?: number } = {}) {
    this.#database = database;
    this.#bytesMax = bytesMax;
  }

  /** From now on `cell` is in force. The same one again, after a restart say, is no change. */
  enter({ compiled: { version }, files }: Pick<LoadedCell, 'compiled' | 'files'>, nowMs: number): void {
    if (this.#inForce() === version) return;
    transact(this.#database, () => {
      this.#database
        .prepare('INSERT OR IGNORE INTO policy_sources (version, files) VALUES (?, ?)')
        .run(version, pack(files));
      this.#database.prepare('INSERT INTO policy_in_force (version, since_ms) VALUES (?, ?)').run(version, nowMs);
      this.#keepNewest(changesMax);
      while (this.#sourceBytes() > this.#bytesMax && this.versions().length > 1)
        this.#keepNewest(this.versions().length - 1);
    });
  }

  /** Oldest first. */
  versions(): readonly VersionInForce[] {
    const rows = this.#database
      .prepare('SELECT version, since_ms AS sinceMs FROM policy_in_force ORDER BY sequence')
      .all();
    return rows as unknown as VersionInForce[];
  }

  /** The text of each file by its name; undefined for a version that is not kept. */
  files(version: string): ReadonlyMap<string, string> | undefined {
    const row = this.#database.prepare('SELECT files FROM policy_sources WHERE version = ?').get(version);
    return row === undefined ? undefined : unpack(row['files'] as Uint8Array);
  }

  /** Forgets what was in force before `sinceMs` only. What is in force stays. */
  expire(sinceMs: number): void {
    const lastBefore = 'SELECT max(sequence) FROM policy_in_force WHERE since_ms <= ?';
    transact(this.#database, () => {
      this.#database.prepare(`DELETE FROM policy_in_force WHERE sequence < (${lastBefore})`).run(sinceMs);
      this.#removeUnused();
    });
  }

  #inForce(): string | undefined {
    const row = this.#database.prepare('SELECT version FROM policy_in_force ORDER BY sequence DESC LIMIT 1').get();
    return row?.['version'] as string | undefined;
  }

  #keepNewest(count: number): void {
    const newestOfOthers = 'SELECT sequence FROM policy_in_force ORDER BY sequence DESC LIMIT 1 OFFSET ?';
    const gone = this.#database.prepare(`DELETE FROM policy_in_force WHERE sequence <= (${newestOfOthers})`).run(count);
    if (gone.changes > 0) this.#removeUnused();
  }

  #removeUnused(): void {
    this.#database.exec('DELETE FROM policy_sources WHERE version NOT IN (SELECT version FROM policy_in_force)');
  }

  #sourceBytes(): number {
    const row = this.#database.prepare('SELECT total(length(files)) AS bytes FROM policy_sources').get();
    return row!['bytes'] as number;
  }
}

function pack(files: ReadonlyMap<string, string>): Uint8Array {
  return zstdCompressSync(JSON.stringify([...files]));
}

function unpack(bytes: Uint8Array): ReadonlyMap<string, string> {
  return new Map(JSON.parse(zstdDecompressSync(bytes).toString('utf8')) as [string, string][]);
}
