import type { KubernetesClient } from '#kubernetes/client.ts';
import { textAt, valueAt } from '#kubernetes/json.ts';
import { type PolicyObject, servicePolicies, titleOf } from '#kubernetes/resources-policy.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Watch } from '#runtime/watch.ts';
import type { Rollouts, Withdrawal } from '../rollouts.ts';
import type { Outcomes } from './cluster-policy-source.ts';

interface WithdrawalWriterOptions {
  readonly client: Pick<KubernetesClient, 'apply'>;
  readonly outcomes: Watch<Outcomes>;
  readonly rollouts: Pick<Rollouts, 'learn'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const fieldManager = 'cellmesh-rollouts';
const retryAfterMs = 5_000;

/**
 * Candidates that were withdrawn, for all replicas: the one that has counted it says so in the status of the candidate's object, and the others take it from
 * there. It need not lead: whoever is told last of all what a candidate denies must not be the only one to let it go.
 */
export class WithdrawalWriter implements AsyncDisposable {
  readonly #options: WithdrawalWriterOptions;
  readonly #unsubscribe: () => void;
  readonly #abort = new AbortController();
  /** By version: not told yet. */
  readonly #untold = new Map<string, Withdrawal>();
  #retry: Scheduled | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: WithdrawalWriterOptions) {
    this.#options = options;
    this.#learn(options.outcomes.current);
    this.#unsubscribe = options.outcomes.subscribe((outcomes) => this.#learn(outcomes));
  }

  tell(withdrawal: Withdrawal): void {
    this.#untold.set(withdrawal.version, withdrawal);
    this.#write();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unsubscribe();
    this.#abort.abort(new Error('the process stops'));
    this.#retry?.cancel();
    await this.#writing;
    this.#retry?.cancel();
  }

  #learn({ policies }: Outcomes): void {
    for (const { object } of policies) {
      const { withdrawn } = object.status;
      if (withdrawn === undefined || !isCandidate(object)) continue;
      const atMs = Date.parse(withdrawn.at) || this.#options.clock.now();
      this.#options.rollouts.learn({ version: withdrawn.version, service: serviceOf(object), atMs });
    }
  }

  #write(): void {
    this.#writing = this.#writing.then(async () => {
      for (const withdrawal of [...this.#untold.values()])
        if (await this.#apply(withdrawal)) this.#untold.delete(withdrawal.version);
      if (this.#untold.size > 0 && !this.#abort.signal.aborted)
        this.#retry = this.#options.clock.schedule(retryAfterMs, () => this.#write());
    });
  }

  /** Returns whether there is nothing more to be done. */
  async #apply({ version, service, atMs }: Withdrawal): Promise<boolean> {
    const { client, outcomes, logger } = this.#options;
    const object = outcomes.current.policies
      .map((one) => one.object)
      .find((one) => isCandidate(one) && serviceOf(one) === service);
    if (object === undefined) return true;
    const { namespace, name, uid } = object;
    const withdrawn = { version, at: new Date(atMs).toISOString() };
    const options = { fieldManager, force: true, subresource: 'status' } as const;
    try {
      const metadata = { name, uid, namespace: namespace! };
      await client.apply(servicePolicies, metadata, { status: { withdrawn } }, options, this.#abort.signal);
      return true;
    } catch (error) {
      if (!this.#abort.signal.aborted)
        logger.warn('other replicas are not told of a withdrawal', { object: titleOf(object), error });
      return false;
    }
  }
}

function isCandidate({ spec }: PolicyObject): boolean {
  return valueAt(spec, 'rollout') !== undefined;
}

function serviceOf({ namespace, spec }: PolicyObject): string {
  return `${namespace}/${textAt(spec, 'serviceAccount')}`;
}
