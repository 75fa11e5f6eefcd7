import type { KubernetesClient } from '#kubernetes/client.ts';
import { accessReviews } from './cluster-objects.ts';

interface Right {
  readonly group: string;
  readonly resource: string;
  readonly verbs: readonly string[];
  /** In the namespace of the control plane only. */
  readonly isOwn?: true;
  readonly name?: string;
}

/** What the service account of the control plane must be allowed, so that everything that it is for works. */
const rights: readonly Right[] = [
  { group: 'authentication.k8s.io', resource: 'tokenreviews', verbs: ['create'] },
  { group: 'authorization.k8s.io', resource: 'subjectaccessreviews', verbs: ['create'] },
  { group: '', resource: 'pods', verbs: ['get', 'list', 'watch'] },
  { group: '', resource: 'services', verbs: ['list', 'watch'] },
  { group: '', resource: 'namespaces', verbs: ['list', 'watch'] },
  { group: 'discovery.k8s.io', resource: 'endpointslices', verbs: ['list', 'watch'] },
  { group: 'cellmesh.io', resource: 'servicepolicies', verbs: ['list', 'watch'] },
  { group: 'cellmesh.io', resource: 'cells', verbs: ['list', 'watch'] },
  { group: '', resource: 'configmaps', verbs: ['get', 'patch'], name: 'cellmesh-trust-bundle' },
  {
    group: 'coordination.k8s.io',
    resource: 'leases',
    verbs: ['get', 'update'],
    isOwn: true,
    name: 'cellmesh-control-plane',
  },
  { group: '', resource: 'secrets', verbs: ['get'], isOwn: true, name: 'cellmesh-root' },
];

/** Asks the API server what the control plane may. @throws KubernetesError where we may not ask */
export async function controlPlaneRights(client: KubernetesClient, namespace: string, signal: AbortSignal) {
  const user = `system:serviceaccount:${namespace}:cellmesh-control-plane`;
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'];
  const asked = rights.flatMap(({ verbs, ...right }) => verbs.map((verb) => ({ verb, ...right })));
  return Promise.all(
    asked.map(async ({ verb, group, resource, isOwn, name }) => {
      const resourceAttributes = { verb, group, resource, ...(isOwn && { namespace }), ...(name && { name }) };
      const isAllowed = await client.review(accessReviews, { user, groups, resourceAttributes }, signal);
      const full = group === '' ? resource : `${resource}.${group}`;
      return { what: `${verb} ${full}${name === undefined ? '' : `/${name}`}`, isAllowed };
    }),
  );
}
