import type { DatabaseSync } from 'node:sqlite';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import { transact } from '#runtime/sqlite.ts';

export interface StoredDecision {
  readonly id: string;
  readonly timeMs: number;
  readonly isDenial: boolean;
  readonly record: string;
}

/** Of decisions that were made at `sinceMs` or later, and before `untilMs`. */
export interface DecisionFilter {
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly denialsOnly: boolean;
}

interface DecisionRetention {
  readonly ageMsMax: number;
  readonly recordsMax: number;
}

/** About a gigabyte of records. */
export const decisionRetention: DecisionRetention = { ageMsMax: 7 * 24 * 3600_000, recordsMax: 2_000_000 };

const expireEveryMs = 60_000;

export const decisionMigration = `
CREATE TABLE decisions (
  sequence INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  time_ms INTEGER NOT NULL,
  is_denial INTEGER NOT NULL,
  record TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_by_time ON decisions (time_ms);`;

/** Decisions by id, for as long as retention says. A record that comes twice is stored once. */
export class DecisionStore implements Disposable {
  readonly #database: DatabaseSync;
  readonly #retention: DecisionRetention;
  #expiry: Scheduled;

  constructor(
    database: DatabaseSync,
    { clock, retention = decisionRetention }: { clock: Clock; retention?: DecisionRetention },
  ) {
    this.#database = database;
    this.#retention = retention;
    const expireAndGoOn = () => {
      this.expire(clock.now());
      this.#expiry = clock.schedule(expireEveryMs, expireAndGoOn);
    };
    this.#expiry = clock.schedule(expireEveryMs, expireAndGoOn);
  }

  [Symbol.dispose](): void {
    this.#expiry.cancel();
  }

  /** Durable when it returns; returns those that were not stored yet. */
  add(decisions: readonly StoredDecision[]): readonly StoredDecision[] {
    const insert = this.#database.prepare(
      'INSERT OR IGNORE INTO decisions (id, time_ms, is_denial, record) VALUES (?, ?, ?, ?)',
    );
    return transact(this.#database, () =>
      decisions.filter(
        ({ id, timeMs, isDenial, record }) => insert.run(id, timeMs, isDenial ? 1 : 0, record).changes > 0,
      ),
    );
  }

  find(id: string): string | undefined {
    return (
      this.#database.prepare('SELECT record FROM decisions WHERE id = ?').get(id) as { record: string } | undefined
    )?.record;
  }

  /** Of the records that are stored now; undefined when there are none. */
  bounds(): { readonly first: number; readonly last: number } | undefined {
    const row = this.#database
      .prepare('SELECT (SELECT min(sequence) FROM decisions) AS first, (SELECT max(sequence) FROM decisions) AS last')
      .get();
    return row!['first'] === null ? undefined : (row as { first: number; last: number });
  }

  /** The records from one sequence to another, both included, that `filter` wants; in their order. */
  range(first: number, last: number, { sinceMs, untilMs, denialsOnly }: DecisionFilter): readonly string[] {
    const rows = this.#database
      .prepare(
        `SELECT record FROM decisions WHERE sequence BETWEEN ? AND ? AND time_ms >= ? AND time_ms < ? AND is_denial >= ? ORDER BY sequence`,
      )
      .all(first, last, sinceMs, untilMs, denialsOnly ? 1 : 0);
    return rows.map(({ record }) => record as string);
  }

  count(): number {
    return (this.#database.prepare('SELECT count(*) AS n FROM decisions').get() as { n: number }).n;
  }

  /** Forgets what is older than retention allows, by age and by number. */
  expire(nowMs: number): void {
    const { ageMsMax, recordsMax } = this.#retention;
    this.#database.prepare('DELETE FROM decisions WHERE time_ms < ?').run(nowMs - ageMsMax);
    this.#database
      .prepare('DELETE FROM decisions WHERE sequence <= (SELECT max(sequence) FROM decisions) - ?')
      .run(recordsMax);
  }
}
