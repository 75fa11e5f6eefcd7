import type { KubernetesClient } from '#kubernetes/client.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';

/** What state in the control plane's namespace is reached with. */
export interface SharedOptions {
  readonly client: Pick<KubernetesClient, 'get' | 'create' | 'replace'>;
  readonly namespace: string;
  readonly clock: Clock;
  readonly random: Random;
}
