import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { KubernetesClient } from '#kubernetes/client.ts';
import { readClusterAccess } from '#kubernetes/cluster-access.ts';
import { foregroundClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';

/** The cluster that `kubectl` would ask; within a pod, where nothing else is said, the one around it. */
export async function connect(kubeconfig: string | undefined, context?: string): Promise<KubernetesClient> {
  const own = join(homedir(), '.kube/config');
  const isPod = !existsSync(own) && process.env['KUBERNETES_SERVICE_HOST'] !== undefined;
  const setting = kubeconfig ?? (process.env['KUBECONFIG'] || (isPod ? 'in-cluster' : own));
  const access = await readClusterAccess(setting, process.env, context);
  return await KubernetesClient.open({ access, clock: foregroundClock, random: systemRandom });
}
