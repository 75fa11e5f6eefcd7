import type { SpiffeId, TrustDomain } from '#certs/spiffe-id.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { Informer } from '#kubernetes/informer.ts';
import { PodReadiness } from '#kubernetes/pod-readiness.ts';
import { nodes, type PlacedNode, type Pod, pods } from '#kubernetes/resources.ts';
import type { Endpoint } from '#net/endpoints.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { PodEndpoints } from './pod-endpoints.ts';

interface ClusterPodsOptions {
  readonly client: Pick<KubernetesClient, 'list' | 'watch'>;
  readonly trustDomain: TrustDomain;
  /** `endpointsOf` says something else of a service, or of whichever service has registered an instance at an address. */
  readonly onChanged: (changed: { readonly service: SpiffeId } | { readonly address: string }) => void;
  /** `countOf` says something else. */
  readonly onCounted: () => void;
  /** There is something to say of endpoints from now on. */
  readonly onListed: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** The server says something every two minutes. What is older than this keeps nobody from getting requests. */
const readinessMsMax = 5 * 60_000;

/**
 * Pods and nodes of the cluster: where instances of services are reached, whether they are ready, and in which zone. Pods say all that EndpointSlices say of
 * them, sooner, and of services without a Service too; nodes say the zone, which pods do since Kubernetes 1.35 alone.
 */
export class ClusterPods implements AsyncDisposable {
  readonly #informers = new AsyncDisposableStack();
  readonly #pods: Informer<Pod>;
  readonly #zones = new Map<string, string>();
  readonly #readiness: PodReadiness;
  readonly #endpoints: PodEndpoints;
  #areListed = false;

  /** Follows at once. */
  constructor(options: ClusterPodsOptions) {
    const { onChanged, onCounted, onListed, trustDomain } = options;
    this.#readiness = new PodReadiness((address) => onChanged({ address }));
    this.#endpoints = new PodEndpoints({
      trustDomain,
      zoneOfNode: (node) => this.#zones.get(node) ?? '',
      onChanged: (service) => onChanged({ service }),
      onCounted,
    });
    this.#pods = this.#informers.use(
      new Informer({
        ...options,
        resource: pods,
        selection: { fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed' },
        keyOf: ({ namespace, name }: Pod) => `${namespace}/${name}`,
        onChange: (now, before) => {
          this.#readiness.update(now, before);
          this.#endpoints.update(now, before);
        },
        onListed: () => {
          this.#areListed = true;
          onCounted();
          onListed();
        },
      }),
    );
    this.#informers.use(
      new Informer({
        ...options,
        resource: nodes,
        keyOf: ({ name }: PlacedNode) => name,
        // A node keeps its zone; one that comes does so before its pods are ready.
        onChange: (now, before) => {
          if (now === undefined) this.#zones.delete(before!.name);
          else this.#zones.set(now.name, now.zone);
        },
        onListed,
      }),
    );
  }

  /**
   * The instances of a service: its pods that are ready, and of those that have `registered` themselves whatever is not known to be such a pod, which has the same address and port. When the
   * API server has been silent for long, what has registered counts as it is. Undefined while pods are not known.
   */
  endpointsOf(service: SpiffeId, registered: readonly Endpoint[]): readonly Endpoint[] | undefined {
    if (!this.#areListed) return undefined;
    const isOld = this.ageMs() > readinessMsMax;
    const own = this.#endpoints.of(service);
    const others = registered.filter(({ host, port }) =>
      isOld
        ? !own.some((one) => one.host === host && one.port === port)
        : !this.#endpoints.has(host, port) && this.#readiness.isReady(host, port),
    );
    return [...own, ...others];
  }

  zoneAt(address: string): string | undefined {
    return this.#endpoints.zoneAt(address);
  }

  /** How many pods are to have the policy of a service; undefined while that is not known. */
  countOf(namespace: string, serviceAccount: string): number | undefined {
    return this.#areListed ? this.#endpoints.countOf(namespace, serviceAccount) : undefined;
  }

  /** How long the API server has said nothing of pods. */
  ageMs(): number {
    return this.#pods.ageMs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#informers.disposeAsync();
  }
}
