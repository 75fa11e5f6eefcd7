import type { DatabaseSync } from 'node:sqlite';
import type { ServedService } from '#api/api-server.ts';
import { decisionLogService } from '#feeds/decision-log-service.ts';
import { DecisionStore, decisionRetention } from '#feeds/decision-store.ts';
import { readStoredDecision } from '#policy/decision-record.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Watch } from '#runtime/watch.ts';
import { PolicyHistory } from './policy-history.ts';
import { policyHistoryService } from './policy-history-service.ts';
import type { LoadedCell } from './policy-source.ts';
import { rolloutService } from './rollout-service.ts';
import { Rollouts } from './rollouts.ts';

interface RecordsOptions {
  readonly database: DatabaseSync;
  readonly cell: Watch<LoadedCell>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What sidecars get of the cell is another thing now. */
  readonly onRolloutWithdrawn: () => void;
}

const expireEveryMs = 3600_000;

/** What a control plane remembers: the decisions of its cell, and the policy that they were made by. */
export class Records implements Disposable {
  readonly decisions: DecisionStore;
  readonly rollouts: Rollouts;
  readonly services: readonly ServedService[];
  readonly #stack = new DisposableStack();

  constructor({ database, cell, clock, logger, onRolloutWithdrawn: onWithdrawn }: RecordsOptions) {
    this.decisions = this.#stack.use(new DecisionStore(database, { clock }));
    const history = new PolicyHistory(database);
    history.enter(cell.current, clock.now());
    this.#stack.defer(cell.subscribe((loaded) => history.enter(loaded, clock.now())));
    this.rollouts = new Rollouts({ database, cell, clock, logger, onWithdrawn });
    let expiry: Scheduled;
    const expireAndGoOn = () => {
      this.rollouts.expire();
      history.expire(clock.now() - decisionRetention.ageMsMax);
      expiry = clock.schedule(expireEveryMs, expireAndGoOn);
    };
    expireAndGoOn();
    this.#stack.defer(() => expiry.cancel());
    this.services = [
      decisionLogService({ store: this.decisions, read: readStoredDecision, logger }),
      policyHistoryService(history),
      rolloutService(this.rollouts),
    ];
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
