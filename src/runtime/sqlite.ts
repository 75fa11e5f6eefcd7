import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { CellmeshError, messageOf } from './errors.ts';

interface DatabaseOptions {
  /** A file, or `:memory:`. */
  file: string;
  /** What the file holds, e.g. `control-plane`; another program's file is refused. */
  application: string;
  /** The statements that lead from version n to n+1, in order. The version is `PRAGMA user_version`. */
  migrations: readonly string[];
}

/**
 * Opens a SQLite file in WAL mode with full durability: what a call acknowledged survives a killed process. One process owns the
 * file (`locking_mode=EXCLUSIVE`); a second one gets `state_locked`, a file of a newer version `state_version`.
 */
export function openDatabase(options: DatabaseOptions): DatabaseSync {
  if (options.file !== ':memory:') mkdirSync(dirname(options.file), { recursive: true, mode: 0o700 });
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(options.file);
    database.exec(
      'PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;',
    );
    migrate(database, options);
    return database;
  } catch (cause) {
    database?.close();
    if (cause instanceof CellmeshError) throw cause;
    throw unopened(options.file, cause);
  }
}

/** Runs `work` in one transaction: all of it or nothing. */
export function transact<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    database.exec('COMMIT');
    return result;
  } catch (error) {
    database.exec('ROLLBACK');
    throw error;
  }
}

/**
 * Holds a lock that goes with its process, however that ends. Nothing is written: it costs no flush to the disk.
 * @throws CellmeshError `state_locked` while somebody else holds it
 */
export function lockFile(file: string): Disposable {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    database.exec('BEGIN EXCLUSIVE');
    const held = database;
    return { [Symbol.dispose]: () => held.close() };
  } catch (cause) {
    database?.close();
    throw unopened(file, cause);
  }
}

/**
 * What a query finds in the file of a process that is not running; nothing where there is no file.
 * @throws CellmeshError `state_locked`, `file_unreadable`
 */
export function readRows(file: string, query: string): readonly Readonly<Record<string, unknown>>[] {
  if (!existsSync(file)) return [];
  try {
    using database = new DatabaseSync(file);
    database.exec('PRAGMA locking_mode=EXCLUSIVE');
    return database.prepare(query).all();
  } catch (cause) {
    throw unopened(file, cause);
  }
}

function unopened(file: string, cause: unknown): CellmeshError {
  if (/locked|busy/i.test(messageOf(cause))) {
    return new CellmeshError(
      'state_locked',
      `${file} is in use by another process; stop it or choose another state directory`,
      { cause },
    );
  }
  return new CellmeshError('file_unreadable', `${file}: ${messageOf(cause)}`, { cause });
}

function migrate(database: DatabaseSync, { file, application, migrations }: DatabaseOptions): void {
  const version = (database.prepare('PRAGMA user_version').get() as { user_version: number }).user_version;
  if (version > migrations.length) {
    throw new CellmeshError(
      'state_version',
      `${file} has version ${version}, this program reads up to ${migrations.length}`,
    );
  }
  transact(database, () => {
    database.exec('CREATE TABLE IF NOT EXISTS cellmesh_application (name TEXT PRIMARY KEY) STRICT');
    const owner = database.prepare('SELECT name FROM cellmesh_application').get() as { name: string } | undefined;
    if (owner === undefined) database.prepare('INSERT INTO cellmesh_application VALUES (?)').run(application);
    else if (owner.name !== application) {
      throw new CellmeshError('state_version', `${file} belongs to ${owner.name}, not to ${application}`);
    }
    for (const migration of migrations.slice(version)) database.exec(migration);
    database.exec(`PRAGMA user_version=${migrations.length}`);
  });
}
