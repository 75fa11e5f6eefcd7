import { serializeTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Watch } from '#runtime/watch.ts';
import type { KubernetesClient } from './client.ts';
import { configMaps } from './resources-config-map.ts';

interface BundleConfigMapOptions {
  readonly client: Pick<KubernetesClient, 'apply'>;
  readonly namespace: string;
  readonly name: string;
  /** Who owns the field. */
  readonly fieldManager: string;
  readonly bundle: Watch<TrustBundle>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const key = 'trust-bundle.json';
const againMsMin = 1_000;
const againMsMax = 60_000;
/** What somebody has changed or deleted is as it was after this. */
const refreshMs = 10 * 60_000;

/** Keeps a ConfigMap as a trust bundle is, until it is disposed. While the API server is away it tries on; the last bundle is what counts. */
export class BundleConfigMap implements AsyncDisposable {
  readonly #options: BundleConfigMapOptions;
  readonly #stopped = new AbortController();
  readonly #unsubscribe: () => void;
  readonly #writing: Promise<void>;
  #wake = new AbortController();

  constructor(options: BundleConfigMapOptions) {
    this.#options = options;
    this.#unsubscribe = options.bundle.subscribe(() => this.#wake.abort());
    this.#writing = this.#write();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unsubscribe();
    this.#stopped.abort();
    await this.#writing;
  }

  async #write(): Promise<void> {
    const { clock, logger, namespace, name, bundle } = this.#options;
    const { signal } = this.#stopped;
    for (let failures = 0; !signal.aborted; ) {
      this.#wake = new AbortController();
      let pauseMs = refreshMs;
      try {
        await this.#apply(bundle.current, signal);
        if (failures > 0) logger.info('the trust bundle is published again', { namespace, name });
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        pauseMs = Math.min(againMsMin * 2 ** Math.min(failures, 10), againMsMax);
        if (failures++ === 0)
          logger.warn('the trust bundle is not published', { namespace, name, reason: messageOf(error) });
      }
      await sleep(clock, pauseMs, AbortSignal.any([signal, this.#wake.signal])).catch(() => {});
    }
  }

  async #apply(bundle: TrustBundle, signal: AbortSignal): Promise<void> {
    const { client, namespace, name, fieldManager } = this.#options;
    const data = { [key]: serializeTrustBundle(bundle) };
    await client.apply(configMaps, { namespace, name }, { data }, { fieldManager, force: true }, signal);
  }
}
