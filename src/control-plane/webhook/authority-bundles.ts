import { toPem } from '#certs/pem.ts';
import type { TrustBundle } from '#certs/trust-bundle.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { Informer } from '#kubernetes/informer.ts';
import type { Resource } from '#kubernetes/resources.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import type { Watch } from '#runtime/watch.ts';
import { injectorConfiguration, policiesConfiguration } from './webhook-configurations.ts';
import { mutatingConfigurations, validatingConfigurations, type WebhookConfiguration } from './webhook-resources.ts';

interface AuthorityBundlesOptions {
  readonly client: Pick<KubernetesClient, 'apply' | 'list' | 'watch'>;
  /** The roots of the cell. */
  readonly bundle: Watch<TrustBundle>;
  /** One replica writes. */
  readonly isLeader: Watch<boolean>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Of the fields that are applied. */
const fieldManager = 'cellmesh-control-plane';
/** Somebody who writes another bundle at once after each of ours is answered at this pace. */
const paceMs = 1_000;
/** After a failure: doubled from the first to the longest. */
const pauseMsMax = 60_000;
/** Ours, among those of a configuration to which somebody has added his own. */
const ownWebhook = /(^|\.)cellmesh\.io$/;

/** Keeps the roots of the cell in the configurations of its webhooks (`clientConfig.caBundle`), whoever changes them, and through rotations. */
export class AuthorityBundles implements AsyncDisposable {
  readonly #kept: readonly KeptBundle[];

  /** Begins at once. */
  constructor(options: AuthorityBundlesOptions) {
    this.#kept = [
      new KeptBundle(options, mutatingConfigurations, injectorConfiguration.name),
      new KeptBundle(options, validatingConfigurations, policiesConfiguration.name),
    ];
  }

  /** Whether the API server is told the roots that are in force, of every configuration there is. */
  get areCurrent(): boolean {
    return this.#kept.every(({ isCurrent }) => isCurrent);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#kept.map((one) => one[Symbol.asyncDispose]()));
  }
}

/** Of one object. */
class KeptBundle implements AsyncDisposable {
  readonly #options: AuthorityBundlesOptions;
  readonly #resource: Resource<WebhookConfiguration>;
  readonly #informer: Informer<WebhookConfiguration>;
  readonly #unsubscribes: readonly (() => void)[];
  readonly #abort = new AbortController();
  /** As the API server has it; undefined while it has none. */
  #stored: WebhookConfiguration | undefined;
  #writing: Promise<void> | undefined;
  #timer: Scheduled | undefined;
  #failures = 0;

  constructor(options: AuthorityBundlesOptions, resource: Resource<WebhookConfiguration>, name: string) {
    const { bundle, isLeader } = options;
    this.#options = options;
    this.#resource = resource;
    this.#informer = new Informer({
      ...options,
      resource,
      selection: { fieldSelector: `metadata.name=${name}` },
      keyOf: (object) => object.name,
      onChange: (now) => {
        this.#stored = now;
        this.#look();
      },
    });
    this.#unsubscribes = [bundle.subscribe(() => this.#look()), isLeader.subscribe(() => this.#look())];
  }

  get isCurrent(): boolean {
    return this.#outdated().length === 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const unsubscribe of this.#unsubscribes) unsubscribe();
    this.#timer?.cancel();
    this.#abort.abort(new Error('the control plane stops'));
    await this.#informer[Symbol.asyncDispose]();
    await this.#writing;
  }

  #outdated(): readonly { readonly name: string }[] {
    const wanted = authorityBundleOf(this.#options.bundle.current);
    return (this.#stored?.webhooks ?? []).filter(({ name, caBundle }) => ownWebhook.test(name) && caBundle !== wanted);
  }

  #look(): void {
    const { isLeader, clock } = this.#options;
    if (this.#writing !== undefined || this.#timer !== undefined || this.#abort.signal.aborted) return;
    if (!isLeader.current || this.isCurrent) return;
    this.#writing = this.#write().finally(() => {
      this.#writing = undefined;
      if (this.#abort.signal.aborted) return;
      const pauseMs = Math.min(pauseMsMax, paceMs * 2 ** Math.min(this.#failures, 16));
      this.#timer = clock.schedule(pauseMs, () => {
        this.#timer = undefined;
        this.#look();
      });
    });
  }

  async #write(): Promise<void> {
    const { client, bundle, logger } = this.#options;
    const { name, webhooks } = this.#stored!;
    const caBundle = authorityBundleOf(bundle.current);
    const own = webhooks.filter((webhook) => ownWebhook.test(webhook.name));
    const fields = { webhooks: own.map((webhook) => ({ name: webhook.name, clientConfig: { caBundle } })) };
    try {
      // Ours, whoever has written something else there. All of them: what is not named again is taken away.
      this.#stored = await client.apply(
        this.#resource,
        { name },
        fields,
        { fieldManager, force: true },
        this.#abort.signal,
      );
      this.#failures = 0;
      logger.info('roots written for the API server', { configuration: name, roots: bundle.current.roots.length });
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      this.#failures++;
      logger.error('the API server could not be told the roots that it has to trust', { configuration: name, error });
    }
  }
}

/** `clientConfig.caBundle`: base64 of PEM. */
function authorityBundleOf({ roots }: TrustBundle): string {
  return Buffer.from(roots.map(({ der }) => toPem('CERTIFICATE', der)).join('')).toString('base64');
}
