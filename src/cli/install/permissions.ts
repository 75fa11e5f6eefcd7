import { rpcTable } from '#api/rpc-table.ts';
import type { Tree } from './tree.ts';

/** One thing that a process may ask of the API server, and what for. */
export interface Permission {
  /** '' is the core group. */
  readonly apiGroup: string;
  /** With its subresource: `cells/status`. */
  readonly resource: string;
  readonly verbs: readonly string[];
  /** Absent: all of them. */
  readonly names?: readonly string[];
  readonly reason: string;
}

export interface Permissions {
  readonly cluster: readonly Permission[];
  /** In the namespace of the installation. */
  readonly namespace: readonly Permission[];
}

const follow = ['list', 'watch'];
/** Server-side apply is a PATCH, and where there is no object yet the API server asks for `create` too, with its name. A POST has no name. */
const apply = ['create', 'patch'];
const signer = 'cellmesh.io/intermediate';
const trustBundle = ['cellmesh-trust-bundle'];
const ownSecrets = ['cellmesh-root', 'cellmesh-account-key', 'cellmesh-join-tokens', 'cellmesh-joined-by-token'];

const tokenReviews: Permission = {
  apiGroup: 'authentication.k8s.io',
  resource: 'tokenreviews',
  verbs: ['create'],
  reason: 'attest pods and operators by their tokens',
};
const accessReviews: Permission = {
  apiGroup: 'authorization.k8s.io',
  resource: 'subjectaccessreviews',
  verbs: ['create'],
  reason: 'ask whether an operator may do what is asked',
};

/** Everything that the control plane may do in its cluster. What is not here is denied: a new call of the API needs a line. */
export const controlPlanePermissions: Permissions = {
  cluster: [
    tokenReviews,
    accessReviews,
    {
      apiGroup: '',
      resource: 'pods',
      verbs: ['get', ...follow],
      reason: 'look up the pod behind a token; follow where services are reached and who is ready',
    },
    { apiGroup: '', resource: 'nodes', verbs: follow, reason: 'know the zones of pods' },
    { apiGroup: '', resource: 'namespaces', verbs: follow, reason: 'know which namespaces are opted in' },
    { apiGroup: 'cellmesh.io', resource: 'cells', verbs: follow, reason: 'know who the cell is' },
    { apiGroup: 'cellmesh.io', resource: 'servicepolicies', verbs: follow, reason: 'follow policy' },
    { apiGroup: 'cellmesh.io', resource: 'cells/status', verbs: ['patch'], reason: 'say what became of it' },
    { apiGroup: 'cellmesh.io', resource: 'servicepolicies/status', verbs: ['patch'], reason: 'say what became of it' },
    {
      apiGroup: '',
      resource: 'configmaps',
      names: trustBundle,
      verbs: [...apply, ...follow],
      reason: 'bring the trust bundle to every namespace that is opted in',
    },
    {
      apiGroup: 'certificates.k8s.io',
      resource: 'certificatesigningrequests',
      verbs: ['create', 'delete', ...follow],
      reason: 'replicas ask the leader for their intermediate certificates',
    },
    {
      apiGroup: 'certificates.k8s.io',
      resource: 'certificatesigningrequests/approval',
      verbs: ['update'],
      reason: 'the leader approves those requests',
    },
    {
      apiGroup: 'certificates.k8s.io',
      resource: 'certificatesigningrequests/status',
      verbs: ['update'],
      reason: 'the leader answers them',
    },
    {
      apiGroup: 'certificates.k8s.io',
      resource: 'signers',
      names: [signer],
      verbs: ['approve', 'sign'],
      reason: 'for requests to this signer alone',
    },
    ...['mutating', 'validating'].map((kind) => ({
      apiGroup: 'admissionregistration.k8s.io',
      resource: `${kind}webhookconfigurations`,
      names: [kind === 'mutating' ? 'cellmesh-injector' : 'cellmesh-policies'],
      verbs: ['get', ...follow, 'patch'],
      reason: 'keep the caBundle of our own webhook current',
    })),
  ],
  namespace: [
    { apiGroup: 'coordination.k8s.io', resource: 'leases', verbs: ['create'], reason: 'elect the first leader' },
    {
      apiGroup: 'coordination.k8s.io',
      resource: 'leases',
      names: ['cellmesh-control-plane'],
      verbs: ['get', ...follow, 'update'],
      reason: 'elect the leader',
    },
    {
      apiGroup: '',
      resource: 'configmaps',
      verbs: [...apply, ...follow],
      reason: 'replicas report to the leader, each in a ConfigMap named after its pod',
    },
    { apiGroup: '', resource: 'secrets', verbs: ['create'], reason: 'keep what replicas share, made by the first' },
    {
      apiGroup: '',
      resource: 'secrets',
      names: ownSecrets,
      verbs: ['get', 'update'],
      reason: 'keep the roots, the key that pseudonymises accounts, and who may join by a token',
    },
  ],
};

/** Everything that identity may do in its cluster. */
export const identityPermissions: Permissions = {
  cluster: [tokenReviews, accessReviews],
  namespace: [
    { apiGroup: '', resource: 'pods', verbs: ['get'], reason: "look up the router's pod behind a token" },
    {
      apiGroup: '',
      resource: 'configmaps',
      names: ['cellmesh-global-trust-bundle'],
      verbs: apply,
      reason: 'publish the global trust bundle',
    },
  ],
};

/** What operators may, as virtual resources of the group `cellmesh.io`: a SubjectAccessReview asks for them, no API has them. */
export function operatorPermissions(...services: readonly string[]): Permission[] {
  const verbs = new Map<string, Set<string>>();
  for (const [name, { callers, permission }] of Object.entries(rpcTable)) {
    if (!callers.includes('admin') || !services.some((prefix) => name.startsWith(prefix))) continue;
    const [resource, verb] = permission.split('.') as [string, string];
    verbs.set(resource, (verbs.get(resource) ?? new Set()).add(verb === 'read' ? 'get' : verb));
  }
  return [...verbs].sort().map(([resource, verbs]) => ({
    apiGroup: 'cellmesh.io',
    resource,
    verbs: [...verbs].sort(),
    reason: 'operators',
  }));
}

/** As the rules of a Role. */
export function rulesOf(permissions: readonly Permission[]): Tree {
  return permissions.map(({ apiGroup, resource, names, verbs }) => ({
    apiGroups: [apiGroup],
    resources: [resource],
    ...(names !== undefined && { resourceNames: names }),
    verbs,
  }));
}
