import type { KubernetesClient, Selection } from '#kubernetes/client.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import type { Resource } from '#kubernetes/resources.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { KubernetesObject } from './installations.ts';

export const rightsNeeded =
  'whoever installs needs the rights of cluster-admin: choose another --kubeconfig or --context';

/** Of a kind that the cluster does not know there is none. */
export async function found(
  client: Pick<KubernetesClient, 'list'>,
  resource: Resource<KubernetesObject>,
  selection: Selection = {},
): Promise<KubernetesObject[]> {
  const all: KubernetesObject[] = [];
  try {
    for await (const { items } of client.list(resource, selection)) all.push(...items);
  } catch (error) {
    if (!(error instanceof KubernetesError)) throw error;
    if (error.status === 401 || error.status === 403)
      throw new CellmeshError('install_failed', `${error.message}; ${rightsNeeded}`, { cause: error });
    if (!error.isNotFound) throw error;
  }
  return all;
}
