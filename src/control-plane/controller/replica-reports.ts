import type { Listener } from '#certs/root-rotation.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { Informer } from '#kubernetes/informer.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { pods } from '#kubernetes/resources.ts';
import { type ConfigMap, configMaps } from '#kubernetes/resources-config-map.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import {
  type BundleProgress,
  parseBundleProgress,
  parseReport,
  type ReplicaReport,
  serializeReport,
} from './replica-report.ts';

interface Seen {
  readonly report: ReplicaReport;
  readonly bundles: BundleProgress;
  readonly seenAt: number;
}

interface ReplicaReportsOptions {
  readonly client: Pick<KubernetesClient, 'get' | 'list' | 'watch' | 'apply'>;
  readonly namespace: string;
  readonly replica: string;
  /** What this replica has to say at this moment. */
  readonly own: () => ReplicaReport;
  /** As `serializeBundleProgress` writes it. */
  readonly ownBundles: () => string;
  /** `all` is another one now. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const label = 'cellmesh.io/replica-report';
const writeAfterMs = 500;
const renewEveryMs = 10_000;
/** A replica that has not renewed its report for so long is gone, and its sidecars are others' by then. */
const goneAfterMs = 35_000;
/** A rotation waits no longer for a replica that is lost, and whose report nobody takes away. */
const lostWaitMsMax = 24 * 3600_000;

/**
 * What each replica knows of its own sidecars, for the one that writes the status of objects: a ConfigMap each, in the control plane's namespace, renewed
 * while the replica lives. Their clocks are not compared: a report is as old as it has not changed before our eyes.
 */
export class ReplicaReports implements AsyncDisposable {
  readonly #options: ReplicaReportsOptions;
  readonly #informer: Informer<ConfigMap>;
  /** By name; when each was seen to change, by the monotonic clock. */
  readonly #reports = new Map<string, Seen>();
  readonly #abort = new AbortController();
  #timer: Scheduled;
  #writing: Promise<void> | undefined;
  #isSoon = false;
  #isListed = false;
  #owners: readonly object[] | undefined;

  /** Begins at once. */
  constructor(options: ReplicaReportsOptions) {
    this.#options = options;
    const { clock, namespace } = options;
    this.#informer = new Informer({
      ...options,
      resource: configMaps,
      selection: { namespace, labelSelector: label },
      keyOf: ({ name }) => name,
      onChange: (now, before) => this.#see(now, before),
      onListed: () => {
        this.#isListed = true;
        options.onChange();
      },
    });
    this.#timer = clock.schedule(0, () => this.#write());
  }

  /** Of all replicas that live; undefined while they are not known. */
  all(): readonly ReplicaReport[] | undefined {
    if (!this.#isListed) return undefined;
    const since = this.#options.clock.monotonic() - goneAfterMs;
    return [...this.#reports.values()].filter(({ seenAt }) => seenAt >= since).map(({ report }) => report);
  }

  /** Who of the others has not heard of the bundle with this sequence, or feeds somebody who has not. */
  listeners(sequence: number): readonly Listener[] {
    if (!this.#isListed) return [{ name: 'the other replicas, which are not known yet' }];
    const own = nameOf(this.#options.replica);
    const since = this.#options.clock.monotonic() - goneAfterMs;
    return [...this.#reports].flatMap(([name, { bundles, seenAt }]): Listener[] => {
      if (name === own) return [];
      // It may feed sidecars still, and be cut off from the API server alone.
      if (seenAt < since) return [{ name: `${name}, which is not heard of`, waitMsMax: lostWaitMsMax }];
      if (bundles.sequence < sequence) return [{ name }];
      const more = bundles.behind - bundles.names.length;
      const named = bundles.names.map((one) => ({ name: one }));
      return more > 0 ? [...named, { name: `${more} more at ${name}` }] : named;
    });
  }

  /** What this replica has to say may be another thing now. */
  ownChanged(): void {
    if (this.#isSoon) return;
    this.#isSoon = true;
    this.#writeIn(writeAfterMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error('the process stops'));
    this.#timer.cancel();
    await this.#writing;
    this.#timer.cancel();
    await this.#informer[Symbol.asyncDispose]();
  }

  #see(now: ConfigMap | undefined, before: ConfigMap | undefined): void {
    const { clock, onChange } = this.#options;
    if (now === undefined) this.#reports.delete(before!.name);
    else if (now.data['renewed'] !== before?.data['renewed'] || !this.#reports.has(now.name))
      this.#reports.set(now.name, {
        report: parseReport(now.data['report'] ?? ''),
        bundles: parseBundleProgress(now.data['bundles'] ?? ''),
        seenAt: clock.monotonic(),
      });
    if (this.#isListed && now?.data['report'] !== before?.data['report']) onChange();
  }

  #writeIn(delayMs: number): void {
    this.#timer.cancel();
    if (!this.#abort.signal.aborted) this.#timer = this.#options.clock.schedule(delayMs, () => this.#write());
  }

  #write(): void {
    this.#isSoon = false;
    const { own, ownBundles } = this.#options;
    this.#writing = this.#apply({ report: serializeReport(own()), bundles: ownBundles() })
      .catch((error: unknown) => {
        if (this.#abort.signal.aborted) return;
        this.#options.logger.warn('what this replica has to report is not written', { error });
      })
      .finally(() => this.#writeIn(this.#isSoon ? writeAfterMs : renewEveryMs));
    // Replicas that have gone are told by nobody.
    this.#options.onChange();
  }

  async #apply(said: Readonly<Record<string, string>>): Promise<void> {
    const { client, clock, namespace, replica } = this.#options;
    this.#owners ??= await this.#findOwners();
    const labels = { [label]: 'true' };
    const metadata = { namespace, name: nameOf(replica), labels, ownerReferences: this.#owners };
    const data = { ...said, renewed: new Date(clock.now()).toISOString() };
    const options = { fieldManager: `cellmesh-${nameOf(replica)}`, force: true };
    await client.apply(configMaps, metadata, { data }, options, this.#abort.signal);
  }

  /** Its pod: Kubernetes removes the report with it. None outside of the cluster, where a replica keeps its name. */
  async #findOwners(): Promise<readonly object[]> {
    const { client, namespace, replica: name } = this.#options;
    try {
      const { uid } = await client.get(pods, { namespace, name }, this.#abort.signal);
      return [{ apiVersion: 'v1', kind: 'Pod', name, uid }];
    } catch (error) {
      if (isCellmeshError(error, 'not_found') || (error instanceof KubernetesError && error.isNotFound)) return [];
      throw error;
    }
  }
}

/** A host name may have capitals, and be longer than is good. */
function nameOf(replica: string): string {
  return `cellmesh-replica-${replica
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-')
    .slice(0, 100)
    .replace(/-+$/, '')}`;
}
