import { ofCluster, type Release } from './pod-parts.ts';
import type { Tree } from './tree.ts';

const apiVersion = 'admissionregistration.k8s.io/v1';
const optIn = 'cellmesh.io/inject';
const systemNamespaces = ['kube-system', 'kube-node-lease', 'kube-public'];

/**
 * What the API server asks the control plane about. Both fail closed, and so are about as little as can be: pods of namespaces that are opted
 * in, never of the cluster's own or ours, and our own kinds of objects. `caBundle` is absent: the control plane keeps it.
 */
export function webhookConfigurations(release: Release): { injector: Tree; policies: Tree } {
  const configuration = (kind: string, name: string, webhooks: readonly Tree[]) => ({
    apiVersion,
    kind,
    metadata: ofCluster(release, 'control-plane', name),
    webhooks,
  });
  return {
    injector: configuration('MutatingWebhookConfiguration', 'cellmesh-injector', [injector(release)]),
    policies: configuration('ValidatingWebhookConfiguration', 'cellmesh-policies', policies(release)),
  };
}

function injector(release: Release): Tree {
  return {
    name: 'inject.cellmesh.io',
    ...common(release, '/inject'),
    // A second call would find the sidecar, and change nothing.
    reinvocationPolicy: 'Never',
    rules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], scope: 'Namespaced', operations: ['CREATE'] }],
    namespaceSelector: {
      matchLabels: { [optIn]: 'enabled' },
      matchExpressions: [
        { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: [...systemNamespaces, release.namespace] },
      ],
    },
    objectSelector: { matchExpressions: [{ key: optIn, operator: 'NotIn', values: ['disabled'] }] },
    // A kubelet's picture of a pod that runs already, from a file of its node: nothing can be added, and nothing should wait.
    matchConditions: [
      {
        name: 'no-mirror-pods',
        expression:
          "!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)",
      },
    ],
  };
}

function policies(release: Release): readonly Tree[] {
  return [
    {
      name: 'policies.cellmesh.io',
      ...common(release, '/validate'),
      rules: [
        ruleOf('servicepolicies', 'Namespaced', ['CREATE', 'UPDATE']),
        ruleOf('cells', 'Cluster', ['UPDATE', 'DELETE']),
      ],
      // What is on its way out must be able to go, with the control plane or without it.
      matchConditions: [
        { name: 'not-terminating', expression: 'object == null || !has(object.metadata.deletionTimestamp)' },
      ],
    },
    {
      name: 'cells.policies.cellmesh.io',
      ...common(release, '/validate'),
      // Without a Cell there is no certificate to serve with: the first one is taken unseen.
      failurePolicy: 'Ignore',
      rules: [ruleOf('cells', 'Cluster', ['CREATE'])],
    },
  ];
}

function common({ namespace }: Release, path: string) {
  return {
    clientConfig: { service: { namespace, name: 'cellmesh-control-plane', port: 443, path } },
    admissionReviewVersions: ['v1'],
    // Also with another version of the API: the server translates.
    matchPolicy: 'Equivalent',
    sideEffects: 'None',
    timeoutSeconds: 5,
    failurePolicy: 'Fail',
  };
}

function ruleOf(resource: string, scope: string, operations: readonly string[]): Tree {
  return { apiGroups: ['cellmesh.io'], apiVersions: ['v1alpha1'], resources: [resource], scope, operations };
}
