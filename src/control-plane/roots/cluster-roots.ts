import type { IntermediateSource } from '#certs/intermediate.ts';
import type { RootHolder, RootsStatus } from '#certs/root-holder.ts';
import type { Listener } from '#certs/root-rotation.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import type { TrustBundle } from '#certs/trust-bundle.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { Informer } from '#kubernetes/informer.ts';
import { type ConfigMap, configMaps } from '#kubernetes/resources-config-map.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { CellmeshError, isCellmeshError, messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import type { Leadership } from '../controller/leadership.ts';
import { intermediateRequests } from './intermediate-requests.ts';
import {
  type PublishedRoots,
  parsePublished,
  parseRotationRequest,
  publishedKeys,
  type RotationRequest,
  rootsConfigMap,
} from './published-roots.ts';
import { RootTerm } from './root-term.ts';

interface ClusterRootsOptions {
  readonly client: Pick<
    KubernetesClient,
    'apply' | 'ask' | 'create' | 'delete' | 'get' | 'list' | 'replace' | 'review' | 'watch'
  >;
  readonly leadership: Pick<Leadership, 'term' | 'subscribe'>;
  /** Of the control plane. */
  readonly namespace: string;
  readonly trustDomain: TrustDomain;
  /** Opens the roots, for one term: it is the leader that does so, and nobody else. */
  readonly open: (term: AbortSignal) => Promise<RootHolder>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const requestMsMax = 15_000;
/** After a term that could not begin, doubled up to the longest. */
const pauseMsMin = 500;
const pauseMsMax = 30_000;

/**
 * The roots of a cell of whose control plane there may be several replicas. Whichever leads opens them, signs the intermediates of all and publishes
 * what is public in a ConfigMap; all others know them by that. With its term a leader forgets the keys.
 */
export class ClusterRoots implements RootHolder, AsyncDisposable {
  readonly intermediates: IntermediateSource;
  readonly #options: ClusterRootsOptions;
  readonly #stack = new AsyncDisposableStack();
  readonly #published = Promise.withResolvers<void>();
  readonly #stopped = new AbortController();
  readonly #state: WatchSource<PublishedRoots | undefined> = new WatchSource<PublishedRoots | undefined>(undefined);
  #bundle: WatchSource<TrustBundle> | undefined;
  #listeners: (() => readonly Listener[]) | undefined;
  #request: RotationRequest | undefined;
  #term: RootTerm | undefined;
  #leading: Promise<void> = Promise.resolve();
  /** Why this replica, which leads, cannot open the roots. */
  #failure: string | undefined;

  /** Begins at once. */
  constructor(options: ClusterRootsOptions) {
    this.#options = options;
    const { namespace, leadership } = options;
    this.intermediates = intermediateRequests(options);
    this.#stack.use(
      new Informer({
        ...options,
        resource: configMaps,
        selection: { namespace, fieldSelector: `metadata.name=${rootsConfigMap}` },
        keyOf: ({ name }) => name,
        onChange: (now) => this.#see(now),
      }),
    );
    this.#stack.defer(leadership.subscribe(() => this.#lead()));
    this.#lead();
  }

  /** Resolves when the roots are known here: `bundle` and `status` are there from then on. */
  get whenKnown(): Promise<void> {
    return this.#published.promise;
  }

  /** Why the roots are not known yet, or why this replica, which leads, has not opened them; undefined otherwise. */
  get problem(): string | undefined {
    return this.#failure ?? (this.#bundle === undefined ? 'no replica leads that could open the roots' : undefined);
  }

  get bundle(): Watch<TrustBundle> {
    return this.#bundle!;
  }

  status(): RootsStatus {
    return this.#term?.status() ?? this.#state.current!.status;
  }

  /** Another replica asks the leader, and waits for what it says. @throws CellmeshError `rotation_refused`, `no_leader` */
  async rotate(isUrgent: boolean): Promise<void> {
    if (this.#term !== undefined) return this.#term.rotate(isUrgent);
    const { client, namespace, random } = this.#options;
    const id = Buffer.from(random.bytes(16)).toString('hex');
    const data = { [publishedKeys.request]: JSON.stringify({ id, isUrgent }) };
    const answered = this.#whenAnswered(id);
    await client.apply(
      configMaps,
      { namespace, name: rootsConfigMap },
      { data },
      { fieldManager: 'cellmesh-rotate-root', force: true },
    );
    const refusal = await answered;
    if (refusal !== undefined) throw new CellmeshError('rotation_refused', refusal);
  }

  follow(listeners: () => readonly Listener[]): void {
    this.#listeners = listeners;
    this.#term?.follow(listeners);
  }

  [Symbol.dispose](): void {
    this.#stopped.abort(new Error('the control plane stops'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]();
    await this.#stack.disposeAsync();
    await this.#leading;
  }

  #see(now: ConfigMap | undefined): void {
    const { trustDomain, logger } = this.#options;
    // Somebody has deleted it: the leader writes it again.
    if (now === undefined) return this.#term?.see({}, undefined);
    this.#request = parseRotationRequest(now.data);
    this.#term?.see(now.data, this.#request);
    // Of a request that was made before anything was published.
    if (now.data[publishedKeys.bundle] === undefined) return;
    try {
      this.#take(parsePublished(now.data, trustDomain));
    } catch (error) {
      logger.error('what is published of the roots is not taken', { configMap: rootsConfigMap, error });
    }
  }

  /** The sequence never goes back: what is older is told late, or by a leader of before. */
  #take(published: PublishedRoots): void {
    const { bundle } = published;
    if (bundle.sequence < (this.#bundle?.current.sequence ?? 0)) return;
    this.#state.set(published);
    if (this.#bundle === undefined) {
      this.#bundle = new WatchSource(bundle);
      this.#published.resolve();
    } else if (bundle.sequence > this.#bundle.current.sequence) this.#bundle.set(bundle);
  }

  #lead(): void {
    const { term } = this.#options.leadership;
    if (term === undefined) return;
    const signal = AbortSignal.any([term, this.#stopped.signal]);
    this.#leading = this.#leading.then(() => this.#serve(signal));
  }

  /** One term. What was opened for it is closed with it, and with that the keys are forgotten. */
  async #serve(signal: AbortSignal): Promise<void> {
    const { clock, logger, open } = this.#options;
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        const roots = await open(signal);
        this.#failure = undefined;
        await using term = new RootTerm({
          ...this.#options,
          ...{ roots, term: signal, before: this.#state.current?.answered },
          onPublished: (published) => this.#take(published),
        });
        this.#term = term;
        if (this.#listeners !== undefined) term.follow(this.#listeners);
        term.see({}, this.#request);
        await untilAborted(signal);
        this.#term = undefined;
      } catch (error) {
        if (signal.aborted) break;
        const code = isCellmeshError(error) ? ` [${error.code}]` : '';
        this.#failure = `the roots cannot be opened: ${messageOf(error)}${code}`;
        logger.error('the roots cannot be opened; it is tried again', { error });
        const pauseMs = Math.min(pauseMsMax, pauseMsMin * 2 ** Math.min(failures, 10));
        await sleep(clock, pauseMs, signal).catch(() => {});
      } finally {
        this.#term = undefined;
      }
    }
    this.#failure = undefined;
  }

  /** Why not; undefined when it was done. */
  async #whenAnswered(id: string): Promise<string | undefined> {
    const { clock } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
    const unsubscribe = this.#state.subscribe((state) => {
      if (state?.answered?.id === id) resolve(state.answered.refusal);
    });
    const refuse = () =>
      reject(new CellmeshError('no_leader', 'no replica has begun the rotation', { retryable: true }));
    const timer = clock.schedule(requestMsMax, refuse);
    this.#stopped.signal.addEventListener('abort', refuse);
    try {
      return await promise;
    } finally {
      unsubscribe();
      timer.cancel();
      this.#stopped.signal.removeEventListener('abort', refuse);
    }
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
