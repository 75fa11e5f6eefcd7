import { type SpiffeId, type TrustDomain, trustDomainOf, workloadOf } from '#certs/spiffe-id.ts';

/** `namespace/service-account`: what manifests call a workload of their own cell. */
export interface WorkloadName {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** `namespace/service-account` as one word. */
export function workloadText({ namespace, serviceAccount }: WorkloadName): string {
  return `${namespace}/${serviceAccount}`;
}

/** `namespace/service-account`, as manifests call a workload of their cell; the whole ID of what is called otherwise. */
export function workloadName(id: SpiffeId): string {
  const workload = workloadOf(id);
  return workload === undefined ? id : workloadText(workload);
}

/** The same of what may be of another trust domain, where the same names are other workloads: those are called by their whole ID. */
export function peerName(id: SpiffeId, home: TrustDomain): string {
  return trustDomainOf(id) === home ? workloadName(id) : id;
}
