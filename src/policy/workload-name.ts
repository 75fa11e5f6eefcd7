import { type SpiffeId, workloadOf } from '#certs/spiffe-id.ts';
import { workloadText } from './manifest.ts';

/** `namespace/service-account`, as manifests call a workload of their cell; the whole ID of what is called otherwise. */
export function workloadName(id: SpiffeId): string {
  const workload = workloadOf(id);
  return workload === undefined ? id : workloadText(workload);
}
