import { type SpiffeId, type TrustDomain, workloadId } from '#certs/spiffe-id.ts';
import type { Pod } from '#kubernetes/resources.ts';
import type { Endpoint } from '#net/endpoints.ts';

interface PodEndpointsOptions {
  readonly trustDomain: TrustDomain;
  /** Empty where it is not known. */
  readonly zoneOfNode: (node: string) => string;
  /** The instances of a service that callers may be sent to are others now. */
  readonly onChanged: (service: SpiffeId) => void;
  /** `countOf` says something else. */
  readonly onCounted: () => void;
}

/**
 * The instances of services that are pods with our sidecar. Every replica sees all pods, whichever of them a sidecar is connected to. One that is not
 * ready, or is to go, is none.
 */
export class PodEndpoints {
  readonly #options: PodEndpointsOptions;
  /** By service, then by uid. */
  readonly #services = new Map<SpiffeId, Map<string, Pod>>();
  readonly #byAddress = new Map<string, Pod>();
  /** By address and port. */
  readonly #bySidecar = new Map<string, Pod>();

  constructor(options: PodEndpointsOptions) {
    this.#options = options;
  }

  of(service: SpiffeId): readonly Endpoint[] {
    return [...(this.#services.get(service)?.values() ?? [])]
      .filter(isReachable)
      .map((pod) => ({ host: pod.addresses[0]!, port: pod.sidecarPort!, locality: this.#zone(pod), weight: 1 }));
  }

  /** Whether the sidecar of a pod is at this address and port: what is to be known of it is known from Kubernetes. Pods may share an address, that of their node. */
  has(address: string, port: number): boolean {
    return this.#bySidecar.has(`${address} ${port}`);
  }

  /** The zone of the pod with this address; undefined where there is none, or it is not known. */
  zoneAt(address: string): string | undefined {
    const pod = this.#byAddress.get(address);
    return (pod && this.#zone(pod)) || undefined;
  }

  /** Pods that are to have the policy of a service. */
  countOf(namespace: string, serviceAccount: string): number {
    const service = workloadId(this.#options.trustDomain, namespace, serviceAccount);
    return [...(this.#services.get(service)?.values() ?? [])].filter(({ isTerminating }) => !isTerminating).length;
  }

  update(now: Pod | undefined, before: Pod | undefined): void {
    const was = describe(before);
    if (before !== undefined) this.#remove(before);
    if (isOurs(now)) this.#add(now);
    if (isCounted(now) !== isCounted(before)) this.#options.onCounted();
    if (describe(now) === was) return;
    for (const service of new Set([before, now].flatMap((pod) => (pod ? [this.#serviceOf(pod)] : []))))
      this.#options.onChanged(service);
  }

  #add(pod: Pod): void {
    const service = this.#serviceOf(pod);
    const pods = this.#services.get(service) ?? new Map<string, Pod>();
    this.#services.set(service, pods.set(pod.uid, pod));
    for (const address of pod.addresses) {
      this.#byAddress.set(address, pod);
      this.#bySidecar.set(`${address} ${pod.sidecarPort}`, pod);
    }
  }

  #remove(pod: Pod): void {
    const pods = this.#services.get(this.#serviceOf(pod));
    pods?.delete(pod.uid);
    if (pods?.size === 0) this.#services.delete(this.#serviceOf(pod));
    for (const address of pod.addresses) {
      removeOwn(this.#byAddress, address, pod);
      removeOwn(this.#bySidecar, `${address} ${pod.sidecarPort}`, pod);
    }
  }

  #zone({ zone, node }: Pod): string {
    return zone || this.#options.zoneOfNode(node);
  }

  #serviceOf({ namespace, serviceAccount }: Pod): SpiffeId {
    return workloadId(this.#options.trustDomain, namespace, serviceAccount);
  }
}

/** Another pod may have come to it meanwhile. */
function removeOwn(pods: Map<string, Pod>, at: string, { uid }: Pod): void {
  if (pods.get(at)?.uid === uid) pods.delete(at);
}

function isOurs(pod: Pod | undefined): pod is Pod {
  return pod !== undefined && pod.sidecarPort !== undefined && !pod.hasEnded;
}

function isCounted(pod: Pod | undefined): boolean {
  return isOurs(pod) && !pod.isTerminating;
}

function isReachable(pod: Pod): boolean {
  return pod.isReady && !pod.isTerminating && pod.addresses.length > 0;
}

/** What of a pod its callers get. */
function describe(pod: Pod | undefined): string {
  if (!isOurs(pod) || !isReachable(pod)) return '';
  return `${pod.namespace}/${pod.serviceAccount} ${pod.addresses[0]} ${pod.sidecarPort} ${pod.node} ${pod.zone}`;
}
