import type { KubernetesClient } from '#kubernetes/client.ts';
import { subjectAccessReviews } from '#kubernetes/resources-access.ts';
import { controlPlanePermissions, type Permission } from '../../install/permissions.ts';

/** Asks the API server whether the control plane may do what an installation gives it. @throws KubernetesError where we may not ask */
export async function controlPlaneRights(client: KubernetesClient, namespace: string, signal: AbortSignal) {
  const user = `system:serviceaccount:${namespace}:cellmesh-control-plane`;
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'];
  const { cluster, namespace: own } = controlPlanePermissions;
  const asked = [...cluster.flatMap((one) => attributesOf(one)), ...own.flatMap((one) => attributesOf(one, namespace))];
  return Promise.all(
    asked.map(async ({ reason, ...resourceAttributes }) => {
      const asks = { user, groups, resourceAttributes };
      const { isAllowed } = await client.review(subjectAccessReviews, asks, signal);
      return { what: `${textOf(resourceAttributes)} (${reason})`, isAllowed };
    }),
  );
}

/** One question for each verb and name. */
function attributesOf({ apiGroup, resource: full, names, verbs, reason }: Permission, namespace?: string) {
  const [resource = '', subresource] = full.split('/');
  return (names ?? [undefined]).flatMap((name) =>
    verbs.map((verb) => ({
      ...{ verb, group: apiGroup, resource, reason },
      ...(subresource !== undefined && { subresource }),
      ...(name !== undefined && { name }),
      ...(namespace !== undefined && { namespace }),
    })),
  );
}

type Attributes = Omit<ReturnType<typeof attributesOf>[number], 'reason'>;

/** `patch cells/status.cellmesh.io`, `get secrets cellmesh-root in cellmesh`. */
function textOf({ verb, group, resource, subresource, name, namespace }: Attributes): string {
  const kind = `${resource}${subresource === undefined ? '' : `/${subresource}`}${group === '' ? '' : `.${group}`}`;
  return `${verb} ${kind}${name === undefined ? '' : ` ${name}`}${namespace === undefined ? '' : ` in ${namespace}`}`;
}
