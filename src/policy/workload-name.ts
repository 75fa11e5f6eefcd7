import { type SpiffeId, workloadOf } from '#certs/spiffe-id.ts';

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
