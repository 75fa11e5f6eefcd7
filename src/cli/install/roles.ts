import { type Permission, type Permissions, rulesOf } from './permissions.ts';
import { type Component, ofCluster, own, type Release } from './pod-parts.ts';
import type { Tree, TreeMap } from './tree.ts';

const rbac = 'rbac.authorization.k8s.io';
const apiVersion = `${rbac}/v1`;

/** A ClusterRole and a Role of one process, and that its ServiceAccount has them. */
export function processRoles(release: Release, component: Component, { cluster, namespace }: Permissions): Tree[] {
  const name = `cellmesh-${component}`;
  return [
    clusterRole(release, component, name, cluster),
    clusterRoleBinding(release, component, name, name),
    { apiVersion, kind: 'Role', metadata: own(release, component, name), rules: rulesOf(namespace) },
    {
      apiVersion,
      kind: 'RoleBinding',
      metadata: own(release, component, name),
      roleRef: { apiGroup: rbac, kind: 'Role', name },
      subjects: [subject(release, name)],
    },
  ];
}

/** The ServiceAccount `cellmesh-operator` may what operators may. */
export function operatorRoles(
  release: Release,
  component: Component,
  name: string,
  permissions: readonly Permission[],
): Tree[] {
  return [
    clusterRole(release, component, name, permissions),
    clusterRoleBinding(release, component, name, 'cellmesh-operator'),
  ];
}

/** Who may view, edit or administer a namespace may read or write its policies: the built-in ClusterRoles take these in. */
export function userRoles(release: Release): Tree[] {
  const policies = (verbs: readonly string[]): Permission => ({
    apiGroup: 'cellmesh.io',
    resource: 'servicepolicies',
    verbs,
    reason: 'users',
  });
  const aggregated = (...roles: readonly string[]) =>
    Object.fromEntries(roles.map((role) => [`${rbac}/aggregate-to-${role}`, 'true']));
  const read = [policies(['get', 'list', 'watch'])];
  const write = [policies(['create', 'delete', 'deletecollection', 'patch', 'update'])];
  return [
    clusterRole(release, 'control-plane', 'cellmesh-view', read, aggregated('view', 'edit', 'admin')),
    clusterRole(release, 'control-plane', 'cellmesh-operate', write, aggregated('edit', 'admin')),
  ];
}

function clusterRole(
  release: Release,
  component: Component,
  name: string,
  permissions: readonly Permission[],
  labels: TreeMap = {},
): Tree {
  return {
    apiVersion,
    kind: 'ClusterRole',
    metadata: ofCluster(release, component, name, labels),
    rules: rulesOf(permissions),
  };
}

function clusterRoleBinding(release: Release, component: Component, role: string, account: string): Tree {
  return {
    apiVersion,
    kind: 'ClusterRoleBinding',
    metadata: ofCluster(release, component, role),
    roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: role },
    subjects: [subject(release, account)],
  };
}

function subject({ namespace }: Release, name: string): Tree {
  return { kind: 'ServiceAccount', name, namespace };
}
