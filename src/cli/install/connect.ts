import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { KubernetesClient } from '#kubernetes/client.ts';
import { inCluster, readClusterAccess, readKubeconfig } from '#kubernetes/cluster-access.ts';
import type { ClusterAccess } from '#kubernetes/kubeconfig.ts';
import { foregroundClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { PluginCredentials } from '../kube/plugin-credentials.ts';

interface Options {
  /** A file, or `in-cluster`. */
  readonly kubeconfig?: string;
  readonly context?: string;
}

/**
 * The cluster that `kubectl` would ask; within a pod, where nothing else is said, the one around it. A credential plugin has run once before this
 * resolves: whoever waits for answers does not wait for a person who logs in.
 */
export async function connect(options: Options): Promise<KubernetesClient> {
  const access = await accessOf(options);
  await access.credentials?.current();
  return await KubernetesClient.open({ access, clock: foregroundClock, random: systemRandom });
}

async function accessOf({ kubeconfig, context }: Options): Promise<ClusterAccess> {
  const own = join(homedir(), '.kube/config');
  const listed = (process.env['KUBECONFIG'] ?? '').split(delimiter).filter((path) => path !== '');
  const isPod = listed.length === 0 && !existsSync(own) && process.env['KUBERNETES_SERVICE_HOST'] !== undefined;
  if (kubeconfig === inCluster || (kubeconfig === undefined && (isPod || listed[0] === inCluster)))
    return await readClusterAccess(inCluster, process.env);
  const paths = kubeconfig === undefined ? there(listed, own) : [kubeconfig];
  const { plugin, ...access } = await readKubeconfig(paths, context);
  return plugin === undefined ? access : { ...access, credentials: new PluginCredentials(plugin, foregroundClock) };
}

/** As kubectl does: of a list, files that are not there are passed over. */
function there(listed: readonly string[], own: string): readonly string[] {
  const paths = listed.filter((path) => existsSync(path));
  return paths.length > 0 ? paths : [listed[0] ?? own];
}
