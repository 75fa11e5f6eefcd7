import type { KubernetesClient } from '#kubernetes/client.ts';
import { listAt, textAt } from '#kubernetes/json.ts';
import type { Resource } from '#kubernetes/resources.ts';
import { sidecarName } from '#kubernetes/sidecar-ports.ts';
import { found } from './found.ts';
import type { Installation, KubernetesObject } from './installations.ts';
import { cells, customResourceDefinitions, kinds, servicePolicies, wholePods } from './kinds.ts';

/** What an uninstallation finds. */
export interface UninstallPlan {
  /** In the order in which they go. */
  readonly removed: readonly KubernetesObject[];
  /** What holds the root and its keys. */
  readonly kept: readonly KubernetesObject[];
  /** Pods with a sidecar: they serve on. */
  readonly injected: readonly KubernetesObject[];
  /** Objects of users that would go with the definitions of their kinds. */
  readonly ofUsers: readonly KubernetesObject[];
}

interface UninstallOptions {
  readonly client: Pick<KubernetesClient, 'list'>;
  readonly namespace: string;
  readonly takesDefinitions: boolean;
  readonly takesRoot: boolean;
}

const partOf = 'app.kubernetes.io/part-of=cellmesh';
/** Made by the control plane as it runs. */
const trustBundle = 'cellmesh-trust-bundle';
const ofControlPlane = {
  ConfigMap: ['cellmesh-roots'],
  Secret: ['cellmesh-root', 'cellmesh-account-key', 'cellmesh-join-tokens', 'cellmesh-joined-by-token'],
  Lease: ['cellmesh-control-plane'],
} as const;
const keptKinds: readonly string[] = ['Secret', 'PersistentVolumeClaim'];

/** Finds what is ours by its labels, and what processes have made by its name. */
export async function planUninstall(
  { components, hasDefinitions }: Installation,
  { client, namespace, takesDefinitions, takesRoot }: UninstallOptions,
): Promise<UninstallPlan> {
  const labelSelector = `${partOf},app.kubernetes.io/component in (${components.join()})`;
  const injected = hasDefinitions ? await injectedPods(client) : [];
  const all: KubernetesObject[] = [];
  for (const resource of Object.values(kinds)) {
    all.push(...(await found(client, resource, { labelSelector, ...(resource.isNamespaced && { namespace }) })));
    if (hasDefinitions) all.push(...(await madeByControlPlane(client, resource, namespace, injected)));
  }
  const objects = [...new Map(all.map((one) => [identityOf(one), one])).values()];
  const isKept = ({ kind }: KubernetesObject) => keptKinds.includes(kind) && !takesRoot;
  const definitions =
    hasDefinitions && takesDefinitions ? await found(client, customResourceDefinitions, { labelSelector: partOf }) : [];
  const ofUsers =
    definitions.length === 0 ? [] : [...(await found(client, cells)), ...(await found(client, servicePolicies))];
  return {
    removed: [...objects.filter((one) => !isKept(one)), ...definitions],
    kept: objects.filter(isKept),
    injected,
    ofUsers,
  };
}

/** The trust bundle stays where a pod has it mounted. */
async function madeByControlPlane(
  client: UninstallOptions['client'],
  resource: Resource<KubernetesObject>,
  namespace: string,
  injected: readonly KubernetesObject[],
): Promise<KubernetesObject[]> {
  const names = Object.entries(ofControlPlane).find(([kind]) => kind === resource.kind)?.[1] ?? [];
  const selections = names.map((name) => ({ namespace, fieldSelector: `metadata.name=${name}` }));
  const own = (await Promise.all(selections.map((one) => found(client, resource, one)))).flat();
  if (resource !== kinds.ConfigMap) return own;
  const bundles = await found(client, resource, { fieldSelector: `metadata.name=${trustBundle}` });
  const inUse = new Set(injected.map((pod) => pod.metadata.namespace));
  return [...own, ...bundles.filter(({ metadata }) => !inUse.has(metadata.namespace))];
}

async function injectedPods(client: UninstallOptions['client']): Promise<KubernetesObject[]> {
  const all = await found(client, wholePods);
  return all.filter((pod) => {
    const hasEnded = ['Succeeded', 'Failed'].includes(textAt(pod, 'status', 'phase') ?? '');
    return !hasEnded && listAt(pod, 'spec', 'initContainers').some((one) => textAt(one, 'name') === sidecarName);
  });
}

function identityOf({ kind, metadata: { namespace, name } }: KubernetesObject): string {
  return `${kind}/${namespace ?? ''}/${name}`;
}
