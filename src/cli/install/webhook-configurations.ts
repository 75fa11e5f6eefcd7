import { ofCluster, type Release } from './pod-parts.ts';
import type { Tree } from './tree.ts';

const apiVersion = 'admissionregistration.k8s.io/v1';
const optIn = 'cellmesh.io/inject';
const systemNamespaces = ['kube-system', 'kube-public', 'kube-node-lease'];

/**
 * What the API server asks the control plane about. Both fail closed, and so are about as little as can be: pods of namespaces that are opted
 * in, never of the cluster's own or ours, and our own kinds of objects. `caBundle` is absent: the control plane keeps it.
 */
export function webhookConfigurations(release: Release): { injector: Tree; policies: Tree } {
  const clientConfig = (path: string) => ({
    service: { name: 'cellmesh-control-plane', namespace: release.namespace, port: 443, path },
  });
  const ruleOf = (resource: string, ...operations: readonly string[]) => ({
    apiGroups: ['cellmesh.io'],
    apiVersions: ['v1alpha1'],
    resources: [resource],
    operations,
    scope: '*',
  });
  const shared = { admissionReviewVersions: ['v1'], sideEffects: 'None', failurePolicy: 'Fail', timeoutSeconds: 5 };
  const injector = {
    name: 'inject.cellmesh.io',
    clientConfig: clientConfig('/inject'),
    rules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'], scope: 'Namespaced' }],
    namespaceSelector: {
      matchLabels: { [optIn]: 'enabled' },
      matchExpressions: [
        { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: [...systemNamespaces, release.namespace] },
      ],
    },
    objectSelector: { matchExpressions: [{ key: optIn, operator: 'NotIn', values: ['disabled'] }] },
    // What other webhooks add may need to be seen; injecting is the same when it is repeated.
    reinvocationPolicy: 'IfNeeded',
    ...shared,
  };
  const policies = {
    name: 'policies.cellmesh.io',
    clientConfig: clientConfig('/policies'),
    rules: [
      ruleOf('servicepolicies', 'CREATE', 'UPDATE'),
      // Not its first: the control plane is ready, and can be asked, when there is a cell.
      ruleOf('cells', 'UPDATE'),
    ],
    ...shared,
  };
  const component = 'control-plane';
  return {
    injector: {
      apiVersion,
      kind: 'MutatingWebhookConfiguration',
      metadata: ofCluster(release, component, 'cellmesh-injector'),
      webhooks: [injector],
    },
    policies: {
      apiVersion,
      kind: 'ValidatingWebhookConfiguration',
      metadata: ofCluster(release, component, 'cellmesh-policies'),
      webhooks: [policies],
    },
  };
}
