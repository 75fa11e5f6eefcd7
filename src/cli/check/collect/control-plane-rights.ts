import type { KubernetesClient } from '#kubernetes/client.ts';
import { controlPlanePermissions, type Permission } from '../../install/permissions.ts';
import { accessReviews } from './cluster-objects.ts';

/** Asks the API server whether the control plane may what it is for. @throws KubernetesError where we may not ask */
export async function controlPlaneRights(client: KubernetesClient, namespace: string, signal: AbortSignal) {
  const user = `system:serviceaccount:${namespace}:cellmesh-control-plane`;
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'];
  const { cluster, namespace: own } = controlPlanePermissions;
  const asked = [...cluster.flatMap((one) => asksOf(one)), ...own.flatMap((one) => asksOf(one, namespace))];
  return Promise.all(
    asked.map(async ({ what, resourceAttributes }) => {
      const isAllowed = await client.review(accessReviews, { user, groups, resourceAttributes }, signal);
      return { what, isAllowed };
    }),
  );
}

/** One for each verb and name: `get secrets/cellmesh-root`. */
function asksOf({ apiGroup: group, resource, verbs, names }: Permission, namespace?: string) {
  const [plural, subresource] = resource.split('/') as [string, string?];
  return verbs.flatMap((verb) =>
    (names ?? [undefined]).map((name) => ({
      what: `${verb} ${resource}${group === '' ? '' : `.${group}`}${name === undefined ? '' : `/${name}`}`,
      resourceAttributes: {
        ...{ verb, group, resource: plural },
        ...(subresource !== undefined && { subresource }),
        ...(namespace !== undefined && { namespace }),
        ...(name !== undefined && { name }),
      },
    })),
  );
}
