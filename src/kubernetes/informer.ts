import { type Clock, sleep } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import type { KubernetesClient, Selection } from './client.ts';
import { KubernetesError } from './kubernetes-error.ts';
import type { Resource } from './resources.ts';
import type { WatchEvent } from './watch-events.ts';

interface InformerOptions<T> {
  readonly client: Pick<KubernetesClient, 'list' | 'watch'>;
  readonly resource: Resource<T>;
  readonly selection?: Selection;
  /** `<namespace>/<name>`: what makes two objects one. */
  readonly keyOf: (object: T) => string;
  /** Told of every change, and of every object again with each list: `before` is undefined for what is new, `now` for what is gone. */
  readonly onChange: (now: T | undefined, before: T | undefined) => void;
  /** All that there was is known, and was told. */
  readonly onListed?: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Objects that are held; with more the list fails, and what is known stays and ages. */
  readonly objectsMax?: number;
  /** Time between lists when nothing else asks for one. */
  readonly resyncMs?: number;
}

/** Clusters of Kubernetes end at 150,000 pods; at some 500 bytes each. */
const defaultObjectsMax = 200_000;
/** A watch that lost something would be wrong for ever: all is listed again now and then. */
const defaultResyncMs = 30 * 60_000;
/** Pauses after failures: doubled from the first to the longest, and drawn between half of it and all. */
const pauseMsMin = 200;
const pauseMsMax = 30_000;

/** Why a watch was given up by us: it is time for a list. */
class ListDue extends Error {}

/**
 * Objects of one kind as the API server has them: a list, and from there a watch. A watch that ends goes on where it was; when the server has
 * forgotten that place (a compaction, another server), all is listed again, and who listens hears of what has gone meanwhile.
 */
export class Informer<T> implements AsyncDisposable {
  readonly #options: InformerOptions<T>;
  readonly #abort = new AbortController();
  readonly #running: Promise<void>;
  #objects = new Map<string, T>();
  /** Where the next watch begins; undefined: with a list. */
  #resourceVersion: string | undefined;
  /** Clock.monotonic() of the last list, and of the last word of the server. */
  #listedAt = Number.NEGATIVE_INFINITY;
  #heardAt = Number.NEGATIVE_INFINITY;
  #failures = 0;

  /** Begins at once. */
  constructor(options: InformerOptions<T>) {
    this.#options = options;
    this.#running = this.#run();
  }

  objects(): readonly T[] {
    return [...this.#objects.values()];
  }

  get size(): number {
    return this.#objects.size;
  }

  /** How long the server has not been heard of; it ends each watch after two minutes. Infinite before the first list. */
  get ageMs(): number {
    return this.#options.clock.monotonic() - this.#heardAt;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error('the informer stops'));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#options;
    const { signal } = this.#abort;
    while (!signal.aborted) {
      await this.#round().catch((error: unknown) => this.#failed(error));
      // After a watch that ended in time too: whatever ends them at once must not be asked without a pause.
      const pauseMs = Math.min(pauseMsMax, pauseMsMin * 2 ** Math.min(this.#failures, 16));
      await sleep(clock, pauseMs * (0.5 + random.fraction() / 2), signal).catch(() => {});
    }
  }

  #failed(error: unknown): void {
    if (this.#abort.signal.aborted) return;
    const isExpired = error instanceof KubernetesError && error.isExpired;
    if (isExpired || error instanceof ListDue) {
      this.#resourceVersion = undefined;
      return;
    }
    this.#failures++;
    const { logger, resource } = this.#options;
    const { plural } = resource;
    logger.warn('the API server is not followed', { resource: plural, failures: this.#failures, error });
  }

  async #round(): Promise<void> {
    const { client, clock, resource, selection = {}, resyncMs = defaultResyncMs } = this.#options;
    this.#resourceVersion ??= await this.#list();
    const due = new AbortController();
    const timer = clock.schedule(this.#listedAt + resyncMs - clock.monotonic(), () => due.abort(new ListDue()));
    const signal = AbortSignal.any([this.#abort.signal, due.signal]);
    const from = { ...selection, resourceVersion: this.#resourceVersion };
    try {
      for await (const event of client.watch(resource, from, signal)) this.#take(event);
      this.#heard();
    } finally {
      timer.cancel();
    }
  }

  /** Takes over what there is, as a whole: a list that breaks off changes nothing. */
  async #list(): Promise<string> {
    const { client, clock, resource, selection, keyOf, onChange } = this.#options;
    const objects = new Map<string, T>();
    let version = '';
    for await (const { items, resourceVersion } of client.list(resource, selection, this.#abort.signal)) {
      for (const item of items) objects.set(keyOf(item), item);
      this.#refuseMore(objects.size);
      version = resourceVersion;
    }
    const before = this.#objects;
    this.#objects = objects;
    this.#listedAt = clock.monotonic();
    this.#heard();
    for (const [key, object] of before) if (!objects.has(key)) onChange(undefined, object);
    for (const [key, object] of objects) onChange(object, before.get(key));
    this.#options.onListed?.();
    return version;
  }

  #take(event: WatchEvent<T>): void {
    const { keyOf, onChange } = this.#options;
    if (event.type !== 'bookmark') {
      const key = keyOf(event.object);
      const before = this.#objects.get(key);
      if (event.type === 'deleted') {
        if (this.#objects.delete(key)) onChange(undefined, before);
      } else {
        if (before === undefined) this.#refuseMore(this.#objects.size + 1);
        this.#objects.set(key, event.object);
        onChange(event.object, before);
      }
    }
    this.#resourceVersion = event.resourceVersion;
    this.#heard();
  }

  #heard(): void {
    this.#heardAt = this.#options.clock.monotonic();
    this.#failures = 0;
  }

  #refuseMore(count: number): void {
    const { objectsMax = defaultObjectsMax, resource } = this.#options;
    if (count <= objectsMax) return;
    throw new CellmeshError('kubernetes_unavailable', `there are more than ${objectsMax} ${resource.plural}`);
  }
}
