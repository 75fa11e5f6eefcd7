import type { Resource } from '#kubernetes/resources.ts';
import type { KubernetesObject } from './installations.ts';

/** The kinds that an installation has, in the order in which an uninstallation takes them away: who asks before who answers. */
export const kinds = {
  MutatingWebhookConfiguration: ofCluster('admissionregistration.k8s.io/v1', 'MutatingWebhookConfiguration'),
  ValidatingWebhookConfiguration: ofCluster('admissionregistration.k8s.io/v1', 'ValidatingWebhookConfiguration'),
  Deployment: namespaced('apps/v1', 'Deployment'),
  StatefulSet: namespaced('apps/v1', 'StatefulSet'),
  PodDisruptionBudget: namespaced('policy/v1', 'PodDisruptionBudget'),
  PodMonitor: namespaced('monitoring.coreos.com/v1', 'PodMonitor'),
  Service: namespaced('v1', 'Service'),
  NetworkPolicy: namespaced('networking.k8s.io/v1', 'NetworkPolicy', 'networkpolicies'),
  ConfigMap: namespaced('v1', 'ConfigMap'),
  Lease: namespaced('coordination.k8s.io/v1', 'Lease'),
  Secret: namespaced('v1', 'Secret'),
  PersistentVolumeClaim: namespaced('v1', 'PersistentVolumeClaim'),
  RoleBinding: namespaced('rbac.authorization.k8s.io/v1', 'RoleBinding'),
  Role: namespaced('rbac.authorization.k8s.io/v1', 'Role'),
  ClusterRoleBinding: ofCluster('rbac.authorization.k8s.io/v1', 'ClusterRoleBinding'),
  ClusterRole: ofCluster('rbac.authorization.k8s.io/v1', 'ClusterRole'),
  ServiceAccount: namespaced('v1', 'ServiceAccount'),
} as const satisfies Record<string, Resource<KubernetesObject>>;

export const customResourceDefinitions = ofCluster('apiextensions.k8s.io/v1', 'CustomResourceDefinition');
export const cells = ofCluster('cellmesh.io/v1alpha1', 'Cell');
export const servicePolicies = namespaced('cellmesh.io/v1alpha1', 'ServicePolicy', 'servicepolicies');
export const wholePods = namespaced('v1', 'Pod');
const namespaces = ofCluster('v1', 'Namespace');

/** @throws for a kind that no installation has: a mistake of whoever wrote it */
export function resourceOf({ apiVersion, kind }: KubernetesObject): Resource<KubernetesObject> {
  const all: readonly Resource<KubernetesObject>[] = [
    ...Object.values(kinds),
    customResourceDefinitions,
    cells,
    namespaces,
  ];
  const found = all.find((one) => one.kind === kind && one.apiVersion === apiVersion);
  if (found === undefined) throw new Error(`${apiVersion} ${kind} is not among the kinds of an installation`);
  return found;
}

/** `Deployment cellmesh/cellmesh-control-plane`. */
export function nameOf({ kind, metadata: { namespace, name } }: KubernetesObject): string {
  return `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;
}

function namespaced(apiVersion: string, kind: string, plural?: string): Resource<KubernetesObject> {
  return { ...ofCluster(apiVersion, kind, plural), isNamespaced: true };
}

function ofCluster(apiVersion: string, kind: string, plural = `${kind.toLowerCase()}s`): Resource<KubernetesObject> {
  // Items of lists do not say what they are.
  const read = (object: unknown) => ({ apiVersion, kind, ...(object as object) }) as unknown as KubernetesObject;
  return { apiVersion, kind, plural, isNamespaced: false, read };
}
