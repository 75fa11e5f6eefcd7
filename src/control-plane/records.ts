import type { DatabaseSync } from 'node:sqlite';
import type { ServedService } from '#api/api-server.ts';
import { accountKeyMigration, type Pseudonyms } from '#feeds/account-pseudonyms.ts';
import type { decisionStoreSettings } from '#feeds/decision-settings.ts';
import type { DecisionStore } from '#feeds/decision-store.ts';
import { StoredDecisions } from '#feeds/stored-decisions.ts';
import { readStoredDecision } from '#policy/decision-record.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import type { Config } from '#runtime/config.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import type { Watch } from '#runtime/watch.ts';
import { PolicyHistory, policyHistoryMigration } from './policy-history.ts';
import { policyHistoryService } from './policy-history-service.ts';
import type { LoadedCell } from './policy-source.ts';
import { rolloutService } from './rollout-service.ts';
import { type OnWithdrawn, Rollouts, rolloutMigration } from './rollouts.ts';

interface RecordsOptions extends Config<typeof decisionStoreSettings> {
  readonly database: DatabaseSync;
  readonly cell: Watch<LoadedCell>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Those of all replicas, where there are several. */
  readonly pseudonyms: Pseudonyms | undefined;
  /** What sidecars get of the cell is another thing now. */
  readonly onRolloutWithdrawn: OnWithdrawn;
}

export const recordsMigration = policyHistoryMigration + accountKeyMigration + rolloutMigration;

const expireEveryMs = 3600_000;

/** What a control plane remembers: the decisions of its cell, and the policy that they were made by. */
export class Records implements Disposable {
  readonly decisions: DecisionStore;
  readonly rollouts: Rollouts;
  readonly services: readonly ServedService[];
  readonly #stack = new DisposableStack();

  constructor(options: RecordsOptions) {
    const { database, cell, clock, onRolloutWithdrawn: onWithdrawn } = options;
    const { store, service } = this.#stack.use(new StoredDecisions(database, options, readStoredDecision));
    this.decisions = store;
    const history = new PolicyHistory(database);
    history.enter(cell.current, clock.now());
    this.#stack.defer(cell.subscribe((loaded) => history.enter(loaded, clock.now())));
    this.rollouts = new Rollouts({ ...options, onWithdrawn });
    let expiry: Scheduled;
    const expireAndGoOn = () => {
      this.rollouts.expire();
      history.expire(clock.now() - options.decisionsAgeMax);
      expiry = clock.schedule(expireEveryMs, expireAndGoOn);
    };
    expireAndGoOn();
    this.#stack.defer(() => expiry.cancel());
    this.services = [service, policyHistoryService(history), rolloutService(this.rollouts)];
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
