import type { RootHolder, RootsStatus } from '#certs/root-holder.ts';
import type { Listener } from '#certs/root-rotation.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { configMaps } from '#kubernetes/resources-config-map.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { IntermediateSigner } from './intermediate-signer.ts';
import { type PublishedRoots, type RotationRequest, rootsConfigMap, serializePublished } from './published-roots.ts';

interface RootTermOptions {
  readonly client: Pick<KubernetesClient, 'apply' | 'ask' | 'get' | 'list' | 'review' | 'watch'>;
  readonly namespace: string;
  /** Opened for this term, and disposed with it. */
  readonly roots: RootHolder;
  readonly term: AbortSignal;
  /** The request for a rotation that the leader before has answered. */
  readonly before: PublishedRoots['answered'];
  readonly onPublished: (published: PublishedRoots) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** What a rotation waits for changes without an event. */
const lookMs = 1_000;

/** What a leader does with the roots while its term lasts: publishes what is public, signs intermediates, and rotates when it is asked to. */
export class RootTerm implements AsyncDisposable {
  readonly #options: RootTermOptions;
  readonly #stack = new AsyncDisposableStack();
  #answered: PublishedRoots['answered'];
  /** As the API server has it, and as it was last written. */
  #stored: Readonly<Record<string, string>> = {};
  #timer: Scheduled | undefined;
  #writing: Promise<void> | undefined;
  #rotating: Promise<void> | undefined;
  #isAgain = false;
  #isSigning = false;
  #isClosed = false;

  constructor(options: RootTermOptions) {
    this.#options = options;
    this.#answered = options.before;
    const { roots } = options;
    this.#stack.use(roots);
    this.#stack.defer(roots.bundle.subscribe(() => this.#changed()));
    this.#changed();
  }

  status(): RootsStatus {
    return this.#options.roots.status();
  }

  async rotate(isUrgent: boolean): Promise<void> {
    await this.#options.roots.rotate(isUrgent);
    this.publish();
  }

  follow(listeners: () => readonly Listener[]): void {
    this.#options.roots.follow(listeners);
  }

  /** What the ConfigMap holds now. */
  see(data: Readonly<Record<string, string>>, request: RotationRequest | undefined): void {
    this.#stored = data;
    if (request !== undefined && request.id !== this.#answered?.id) this.#rotating ??= this.#rotateFor(request);
    this.publish();
  }

  /** Writes what is not written. */
  publish(): void {
    this.#timer?.cancel();
    if (this.#isClosed) return;
    if (this.#writing !== undefined) {
      this.#isAgain = true;
      return;
    }
    this.#isAgain = false;
    this.#writing = this.#write().finally(() => {
      this.#writing = undefined;
      if (this.#isAgain) this.publish();
      else if (!this.#isClosed) this.#timer = this.#options.clock.schedule(lookMs, () => this.publish());
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#writing;
    await this.#rotating;
    await this.#stack.disposeAsync();
  }

  #changed(): void {
    this.#options.onPublished(this.#current());
    this.publish();
  }

  #current(): PublishedRoots {
    const { roots } = this.#options;
    return { bundle: roots.bundle.current, status: roots.status(), answered: this.#answered };
  }

  async #rotateFor({ id, isUrgent }: RotationRequest): Promise<void> {
    const refusal = await this.#options.roots.rotate(isUrgent).then(
      () => undefined,
      (error: unknown) => messageOf(error),
    );
    this.#rotating = undefined;
    this.#answered = { id, refusal };
    this.publish();
  }

  async #write(): Promise<void> {
    const { client, namespace, term, logger } = this.#options;
    const data = serializePublished(this.#current());
    if (!Object.entries(data).every(([key, text]) => this.#stored[key] === text)) {
      const fields = { fieldManager: 'cellmesh-control-plane', force: true };
      try {
        this.#stored = (
          await client.apply(configMaps, { namespace, name: rootsConfigMap }, { data }, fields, term)
        ).data;
      } catch (error) {
        if (!term.aborted) logger.warn('the roots are not published', { error });
        return;
      }
    }
    this.#sign();
  }

  /** From when on what would be signed by can be known to everybody. */
  #sign(): void {
    if (this.#isSigning || this.#isClosed) return;
    this.#isSigning = true;
    const { intermediates } = this.#options.roots;
    this.#stack.use(new IntermediateSigner({ ...this.#options, intermediates }));
  }
}
