import { serializeTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { Informer } from '#kubernetes/informer.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { type ConfigMap, configMaps } from '#kubernetes/resources-config-map.ts';
import { type Namespace, namespaces } from '#kubernetes/resources-namespace.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import type { Watch } from '#runtime/watch.ts';
import type { Leadership } from './leadership.ts';

interface BundleWriterOptions {
  readonly client: Pick<KubernetesClient, 'list' | 'watch' | 'apply'>;
  readonly leadership: Pick<Leadership, 'term' | 'subscribe'>;
  /** Of the control plane. */
  readonly namespace: string;
  readonly bundle: Watch<TrustBundle>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const name = 'cellmesh-trust-bundle';
const key = 'trust-bundle.json';
const fieldManager = 'cellmesh-control-plane';
const writeAfterMs = 100;
const retryAfterMs = 5_000;

/**
 * The cell's trust bundle, in a ConfigMap of the control plane's namespace and of each that is opted in: sidecars start with it. It is kept current wherever
 * it has been written, also when a namespace opts out: pods that run there mount it, and one whose ConfigMap is gone does not start again.
 */
export class BundleWriter implements AsyncDisposable {
  readonly #options: BundleWriterOptions;
  readonly #stack = new AsyncDisposableStack();
  readonly #optedIn: Informer<Namespace>;
  readonly #written: Informer<ConfigMap>;
  /** Both are known. */
  readonly #unlisted = new Set(['namespaces', 'configmaps']);
  #timer: Scheduled | undefined;
  #writing: Promise<void> | undefined;
  #isAgain = false;
  #isClosed = false;

  /** Begins at once. */
  constructor(options: BundleWriterOptions) {
    this.#options = options;
    const following = (what: string) => ({
      ...options,
      onChange: () => this.#changed(),
      onListed: () => {
        this.#unlisted.delete(what);
        this.#changed();
      },
    });
    this.#optedIn = new Informer({
      ...following('namespaces'),
      resource: namespaces,
      selection: { labelSelector: 'cellmesh.io/inject=enabled' },
      keyOf: (one) => one.name,
    });
    this.#written = new Informer({
      ...following('configmaps'),
      resource: configMaps,
      selection: { fieldSelector: `metadata.name=${name}` },
      keyOf: ({ namespace }) => namespace,
    });
    this.#stack.use(this.#optedIn);
    this.#stack.use(this.#written);
    this.#stack.defer(options.bundle.subscribe(() => this.#changed()));
    this.#stack.defer(options.leadership.subscribe(() => this.#changed()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#writing;
    await this.#stack.disposeAsync();
  }

  #changed(delayMs = writeAfterMs): void {
    if (this.#isClosed || this.#unlisted.size > 0) return;
    if (this.#writing !== undefined) this.#isAgain = true;
    else
      this.#timer ??= this.#options.clock.schedule(delayMs, () => {
        this.#timer = undefined;
        this.#writing = this.#write().then((isDone) => {
          this.#writing = undefined;
          if (!isDone) this.#changed(retryAfterMs);
          else if (this.#isAgain) this.#changed();
        });
      });
  }

  /** Returns whether all that was due is written. */
  async #write(): Promise<boolean> {
    const { leadership, bundle, namespace: own } = this.#options;
    this.#isAgain = false;
    const signal = leadership.term;
    if (signal === undefined) return true;
    const text = serializeTrustBundle(bundle.current);
    const found = this.#written.objects();
    const written = new Map(found.map(({ namespace, data }) => [namespace, data[key]]));
    // One of the same name that somebody else has put where nobody has opted in is theirs.
    const ours = found.filter(({ managers }) => managers.includes(fieldManager)).map(({ namespace }) => namespace);
    const optedIn = this.#optedIn.objects().filter(({ isTerminating }) => !isTerminating);
    const wanted = new Set([own, ...optedIn.map((one) => one.name), ...ours]);
    let isDone = true;
    for (const namespace of wanted) {
      if (signal.aborted || this.#isClosed) return true;
      if (written.get(namespace) !== text) isDone = (await this.#apply(namespace, text, signal)) && isDone;
    }
    return isDone;
  }

  async #apply(namespace: string, text: string, signal: AbortSignal): Promise<boolean> {
    const { client, logger } = this.#options;
    const options = { fieldManager, force: true };
    try {
      await client.apply(configMaps, { namespace, name }, { data: { [key]: text } }, options, signal);
      return true;
    } catch (error) {
      // A namespace that goes takes nothing new.
      const isGone = error instanceof KubernetesError && error.isNotFound;
      if (isGone || signal.aborted) return true;
      logger.warn('the trust bundle is not written', { namespace, error });
      return false;
    }
  }
}
