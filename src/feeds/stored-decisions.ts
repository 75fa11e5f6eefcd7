import type { DatabaseSync } from 'node:sqlite';
import type { ServedService } from '#api/api-server.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Config } from '#runtime/config.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { AccountPseudonyms, type Pseudonyms } from './account-pseudonyms.ts';
import { decisionLogService } from './decision-log-service.ts';
import type { decisionStoreSettings } from './decision-settings.ts';
import { DecisionStore, type StoredDecision } from './decision-store.ts';

interface StoredDecisionsOptions extends Config<typeof decisionStoreSettings> {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Default: under keys that lie in the database. They end with this. */
  readonly pseudonyms?: Pseudonyms | undefined;
}

/** The store of decisions and its service, as a process is set. */
export class StoredDecisions implements Disposable {
  readonly store: DecisionStore;
  readonly service: ServedService;
  readonly #stack = new DisposableStack();

  /** `read` reads a record that came over the wire; it throws a CellmeshError when it is none. */
  constructor(database: DatabaseSync, options: StoredDecisionsOptions, read: (record: string) => StoredDecision) {
    this.store = this.#stack.use(new DecisionStore(database, options));
    const pseudonyms = this.#stack.use(options.pseudonyms ?? new AccountPseudonyms(database, options));
    this.service = decisionLogService({
      store: this.store,
      read: (record) => read(pseudonyms.hide(record)),
      logger: options.logger,
    });
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
