import type { DatabaseSync } from 'node:sqlite';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { CompiledCandidate } from '#policy/compile.ts';
import type { PolicySnapshot } from '#policy/snapshot.ts';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import { transact } from '#runtime/sqlite.ts';
import type { Watch } from '#runtime/watch.ts';
import type { LoadedCell } from './policy-source.ts';

export const rolloutMigration = `
CREATE TABLE rollout_counts (
  version TEXT NOT NULL,
  run TEXT NOT NULL,
  allowed INTEGER NOT NULL,
  newly_denied INTEGER NOT NULL,
  newly_allowed INTEGER NOT NULL,
  PRIMARY KEY (version, run)
) STRICT;
CREATE TABLE rollout_withdrawn (
  version TEXT PRIMARY KEY,
  service TEXT NOT NULL,
  at_ms INTEGER NOT NULL
) STRICT;`;

export interface Counts {
  readonly allowed: number;
  readonly newlyDenied: number;
  readonly newlyAllowed: number;
}

interface RolloutState extends CompiledCandidate, Counts {
  readonly runs: readonly (Counts & { readonly run: string })[];
  readonly withdrawnAtMs: number | undefined;
  readonly isOverWithoutReturn: boolean;
}

/** Of a candidate, once and for all. */
export interface Withdrawal {
  readonly version: string;
  /** `namespace/service-account`. */
  readonly service: string;
  readonly atMs: number;
}

export type OnWithdrawn = (withdrawal: Withdrawal, mine: boolean) => void;

interface RolloutsOptions {
  readonly database: DatabaseSync;
  readonly cell: Watch<LoadedCell>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A candidate was withdrawn: snapshots are others now. `mine`: by what was reported here, and others may not know. */
  readonly onWithdrawn: OnWithdrawn;
}

/** A thousand instances that start ten times each. */
const runsMax = 10_000;

/**
 * The candidates of a cell, and what they said. One that denies more than it may of what the version in force allowed is withdrawn, once: by its digest, so
 * that neither a restart nor a change of its share brings it back, and a change of its rules does. What goes on then is the version beside it, which refuses
 * what no rule allows; beside one in audit nothing is withdrawn, or whoever sends requests could switch enforcement off.
 */
export class Rollouts {
  readonly #options: RolloutsOptions;
  readonly #withdrawn: Map<string, number>;
  readonly #told = new Set<string>();

  constructor(options: RolloutsOptions) {
    this.#options = options;
    const rows = options.database.prepare('SELECT version, at_ms AS atMs FROM rollout_withdrawn').all();
    this.#withdrawn = new Map(rows.map(({ version, atMs }) => [version as string, atMs as number]));
  }

  /** Takes what one run of a sidecar of `service` counted. @throws CellmeshError `request_invalid`: no run is named so, or nothing can be counted so */
  report(service: SpiffeId, run: string, version: string, counts: Counts): void {
    const candidate = this.#candidates().find((one) => one.version === version && one.id === service);
    // Its last counts come after it went: that is no mistake of the sidecar's.
    if (candidate === undefined) return;
    if (!/^[a-z0-9.-]{1,80}$/.test(run))
      throw new CellmeshError('request_invalid', 'a run is named by letters and digits');
    if (!Object.values(counts).every(Number.isSafeInteger) || counts.newlyDenied > counts.allowed)
      throw new CellmeshError('request_invalid', 'no requests can be counted so');
    this.#store(run, version, counts);
    this.#judge(candidate);
  }

  /** As a sidecar gets it: without a candidate that was withdrawn. */
  effective(snapshot: PolicySnapshot): PolicySnapshot {
    const { candidate, ...rest } = snapshot;
    return candidate === undefined || !this.#withdrawn.has(candidate.version) ? snapshot : rest;
  }

  states(): readonly RolloutState[] {
    return this.#candidates().map((candidate) => {
      const counts = this.#countsOf(candidate.version);
      return {
        ...candidate,
        ...counts,
        runs: this.#runsOf(candidate.version),
        withdrawnAtMs: this.#withdrawn.get(candidate.version),
        isOverWithoutReturn: !candidate.isBesideEnforced && isOver(candidate, counts),
      };
    });
  }

  /** Another control plane of this cell has withdrawn it. */
  learn(withdrawal: Withdrawal): void {
    const { version, service } = withdrawal;
    if (this.#withdrawn.has(version)) return;
    this.#options.logger.warn('takes over that a candidate is withdrawn', { service, candidate: version });
    this.#withdraw(withdrawal, false);
  }

  /** Forgets the counts of candidates that are gone. */
  expire(): void {
    const current = this.#candidates().map(({ version }) => version);
    const marks = current.map(() => '?').join(', ');
    this.#options.database.prepare(`DELETE FROM rollout_counts WHERE version NOT IN (${marks})`).run(...current);
  }

  #judge(candidate: CompiledCandidate): void {
    const { version, service, newlyDeniedMax, isBesideEnforced } = candidate;
    const { logger, clock } = this.#options;
    const counts = this.#countsOf(version);
    if (this.#withdrawn.has(version) || this.#told.has(version) || !isOver(candidate, counts)) return;
    const { allowed, newlyDenied } = counts;
    const facts = { service, candidate: version, allowed, newlyDenied, newlyDeniedMax: `${newlyDeniedMax}%` };
    if (!isBesideEnforced) {
      this.#told.add(version);
      logger.error('a candidate denies more than it may, and stays: the version beside it is in audit', facts);
      return;
    }
    logger.error('a candidate denies more than it may and is withdrawn: the version in force goes on alone', facts);
    this.#withdraw({ version, service, atMs: clock.now() }, true);
  }

  #withdraw(withdrawal: Withdrawal, mine: boolean): void {
    const { version, service, atMs } = withdrawal;
    this.#options.database
      .prepare('INSERT OR IGNORE INTO rollout_withdrawn (version, service, at_ms) VALUES (?, ?, ?)')
      .run(version, service, atMs);
    this.#withdrawn.set(version, atMs);
    this.#options.onWithdrawn(withdrawal, mine);
  }

  #candidates(): readonly CompiledCandidate[] {
    return this.#options.cell.current.compiled.candidates;
  }

  #store(run: string, version: string, { allowed, newlyDenied, newlyAllowed }: Counts): void {
    const { database } = this.#options;
    transact(database, () => {
      database
        .prepare(
          `INSERT INTO rollout_counts (version, run, allowed, newly_denied, newly_allowed) VALUES (?, ?, ?, ?, ?)
           ON CONFLICT (version, run) DO UPDATE SET allowed = max(allowed, excluded.allowed),
             newly_denied = max(newly_denied, excluded.newly_denied), newly_allowed = max(newly_allowed, excluded.newly_allowed)`,
        )
        .run(version, run, allowed, newlyDenied, newlyAllowed);
      database
        .prepare(
          'DELETE FROM rollout_counts WHERE rowid IN (SELECT rowid FROM rollout_counts WHERE version = ? ORDER BY rowid DESC LIMIT -1 OFFSET ?)',
        )
        .run(version, runsMax);
    });
  }

  #runsOf(version: string): RolloutState['runs'] {
    const rows = this.#options.database
      .prepare(
        'SELECT run, allowed, newly_denied AS newlyDenied, newly_allowed AS newlyAllowed FROM rollout_counts WHERE version = ?',
      )
      .all(version);
    return rows as unknown as RolloutState['runs'];
  }

  #countsOf(version: string): Counts {
    const row = this.#options.database
      .prepare(
        'SELECT total(allowed) AS allowed, total(newly_denied) AS newlyDenied, total(newly_allowed) AS newlyAllowed FROM rollout_counts WHERE version = ?',
      )
      .get(version);
    return row as unknown as Counts;
  }
}

function isOver({ newlyDeniedMax, requestsMin }: CompiledCandidate, { allowed, newlyDenied }: Counts): boolean {
  return allowed >= requestsMin && (newlyDenied / allowed) * 100 > newlyDeniedMax;
}
