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
  /** As records name it. */
  readonly peer?: string | undefined;
}

interface DecisionRetention {
  readonly decisionsAgeMax: number;
  readonly decisionsSizeMax: number;
}

const expireEveryMs = 60_000;
/** Deleted at once: some ten milliseconds, in which nobody else is served. */
const sliceRecords = 1_000;
const sliceEveryMs = 10;

export const decisionMigration = `
CREATE TABLE decisions (
  sequence INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  time_ms INTEGER NOT NULL,
  is_denial INTEGER NOT NULL,
  record TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_by_time ON decisions (time_ms);`;

interface DecisionStoreOptions extends DecisionRetention {
  readonly clock: Clock;
}

/** Decisions by id, for as long as retention says. A record that comes twice is stored once. */
export class DecisionStore implements Disposable {
  readonly #database: DatabaseSync;
  readonly #options: DecisionStoreOptions;
  #expiry: Scheduled;
  #count: number;

  constructor(database: DatabaseSync, options: DecisionStoreOptions) {
    this.#database = database;
    this.#options = options;
    this.#count = this.#number('SELECT count(*) FROM decisions');
    this.#expiry = options.clock.schedule(expireEveryMs, () => this.#expire());
  }

  [Symbol.dispose](): void {
    this.#expiry.cancel();
  }

  /** Durable when it returns; returns those that were not stored yet. */
  add(decisions: readonly StoredDecision[]): readonly StoredDecision[] {
    const insert = this.#database.prepare(
      'INSERT OR IGNORE INTO decisions (id, time_ms, is_denial, record) VALUES (?, ?, ?, ?)',
    );
    return transact(this.#database, () => {
      // Twice as many as may come: the size falls below the bound and stays there, however fast they come.
      if (this.bytes() > this.#options.decisionsSizeMax) this.#deleteOldest(2 * decisions.length);
      const added = decisions.filter(
        ({ id, timeMs, isDenial, record }) => insert.run(id, timeMs, isDenial ? 1 : 0, record).changes > 0,
      );
      this.#count += added.length;
      return added;
    });
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
  range(first: number, last: number, { sinceMs, untilMs, denialsOnly, peer }: DecisionFilter): readonly string[] {
    const rows = this.#database
      .prepare(
        `SELECT record FROM decisions WHERE sequence BETWEEN ? AND ? AND time_ms >= ? AND time_ms < ? AND is_denial >= ?
           ${peer === undefined ? '' : "AND record ->> '$.peer' = ?"} ORDER BY sequence`,
      )
      .all(first, last, sinceMs, untilMs, denialsOnly ? 1 : 0, ...(peer === undefined ? [] : [peer]));
    return rows.map(({ record }) => record as string);
  }

  /** Counted once at the start: in a large store that is no work for each look. */
  count(): number {
    return this.#count;
  }

  /** Of the database's file, what is in use. What is not is used again before the file grows. */
  bytes(): number {
    const pages = this.#number('PRAGMA page_count') - this.#number('PRAGMA freelist_count');
    return pages * this.#number('PRAGMA page_size');
  }

  /** Beyond this the oldest go. */
  get bytesMax(): number {
    return this.#options.decisionsSizeMax;
  }

  /** Forgets a slice of what is too old or too much, and goes on when others had their turn. */
  #expire(): void {
    const { clock, decisionsAgeMax, decisionsSizeMax } = this.#options;
    const isTooMuch = this.bytes() > decisionsSizeMax;
    const deleted =
      this.#deleteOlderThan(clock.now() - decisionsAgeMax) + (isTooMuch ? this.#deleteOldest(sliceRecords) : 0);
    this.#expiry = clock.schedule(deleted > 0 ? sliceEveryMs : expireEveryMs, () => this.#expire());
  }

  #deleteOlderThan(timeMs: number): number {
    const tooOld = 'SELECT sequence FROM decisions WHERE time_ms < ? ORDER BY time_ms LIMIT ?';
    return this.#delete(`sequence IN (${tooOld})`, timeMs, sliceRecords);
  }

  #deleteOldest(records: number): number {
    return this.#delete('sequence IN (SELECT sequence FROM decisions ORDER BY sequence LIMIT ?)', records);
  }

  #delete(condition: string, ...values: readonly number[]): number {
    const { changes } = this.#database.prepare(`DELETE FROM decisions WHERE ${condition}`).run(...values);
    this.#count -= Number(changes);
    return Number(changes);
  }

  #number(query: string): number {
    return Object.values(this.#database.prepare(query).get()!)[0] as number;
  }
}
