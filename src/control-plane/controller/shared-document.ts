import type { KubernetesClient } from '#kubernetes/client.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { type SecretObject, secrets } from '#kubernetes/resources-secret.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Random } from '#runtime/random.ts';

interface SharedDocumentOptions<T> {
  readonly client: Pick<KubernetesClient, 'get' | 'create' | 'replace'>;
  readonly namespace: string;
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Of its JSON, or of undefined where there is none yet. */
  readonly read: (document: unknown) => T;
}

const key = 'document';
/** As many replicas as there may ever be can each be first once. */
const attemptsMax = 20;
const pauseMs = 50;

/**
 * One document that all replicas have, in a Secret of the control plane's namespace. A change is made to the state that was read, or to none: of several
 * replicas that change it at once one is first, and the others look again.
 */
export class SharedDocument<T> {
  readonly #options: SharedDocumentOptions<T>;

  constructor(options: SharedDocumentOptions<T>) {
    this.#options = options;
  }

  async read(): Promise<T> {
    return this.#documentOf(await this.#get());
  }

  /**
   * Changes it.
   * @param change from what there is to what there is to be; undefined: it is as it should be. It may be called again.
   * @returns what there was before
   * @throws CellmeshError `conflict` when others were always first, or what the API server refuses
   */
  async change(change: (current: T) => T | undefined): Promise<T> {
    const { clock, random } = this.#options;
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const found = await this.#get();
      const current = this.#documentOf(found);
      const next = change(current);
      if (next === undefined) return current;
      try {
        await this.#write(found, next);
        return current;
      } catch (error) {
        if (!(error instanceof KubernetesError && error.isConflict)) throw error;
        await sleep(clock, pauseMs * random.fraction());
      }
    }
    throw new CellmeshError('conflict', `the Secret ${this.#options.name} is always changed by others`, {
      retryable: true,
    });
  }

  async #get(): Promise<SecretObject | undefined> {
    const { client, namespace, name } = this.#options;
    try {
      return await client.get(secrets, { namespace, name });
    } catch (error) {
      if (error instanceof KubernetesError && error.isNotFound) return undefined;
      throw error;
    }
  }

  #documentOf(found: SecretObject | undefined): T {
    const text = found?.valueOf(key)?.reveal();
    return this.#options.read(text === undefined ? undefined : JSON.parse(text));
  }

  async #write(found: SecretObject | undefined, document: T): Promise<void> {
    const { client, namespace, name } = this.#options;
    const fields = { type: 'Opaque', stringData: { [key]: JSON.stringify(document) } };
    if (found === undefined) await client.create(secrets, { namespace, name }, fields);
    else await client.replace(secrets, { namespace, name, resourceVersion: found.resourceVersion }, fields);
  }
}
