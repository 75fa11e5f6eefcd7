/** What an installation is about, as far as the API server's calls depend on it. */
interface WebhookValues<Metadata> {
  /** Of the control plane. */
  readonly namespace: string;
  /** Name and port of the Service in front of the control plane's webhook port. */
  readonly service: { readonly name: string; readonly port: number };
  /** Of the object with this name. */
  readonly metadataOf: (name: string) => Metadata;
}

type WebhookService = Pick<WebhookValues<unknown>, 'namespace' | 'service'>;

export const injectorConfiguration = { name: 'cellmesh-injector', webhook: 'inject.cellmesh.io' } as const;
export const policiesConfiguration = {
  name: 'cellmesh-policies',
  webhook: 'policies.cellmesh.io',
  firstCell: 'cells.policies.cellmesh.io',
} as const;
export const webhookPaths = { inject: '/inject', validate: '/validate' } as const;

/** On a namespace: `enabled` opts it in. On a pod: `disabled` keeps it out. */
const injectLabel = 'cellmesh.io/inject';

/** Namespaces whose pods never wait for a webhook: the cluster's own, and that of the control plane, which could not start for want of itself. */
export function namespacesLeftAlone(own: string): readonly string[] {
  return ['kube-system', 'kube-node-lease', 'kube-public', own];
}

/**
 * The objects by which the API server calls the control plane. Both fail closed, and so are about as little as can be: pods of namespaces that are
 * opted in, never of the cluster's own or ours, and our own kinds of objects. They have no `caBundle`: the control plane keeps that.
 */
export function webhookConfigurations<Metadata>(values: WebhookValues<Metadata>) {
  const configuration = <Webhook>(kind: string, name: string, webhooks: readonly Webhook[]) => ({
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind,
    metadata: values.metadataOf(name),
    webhooks,
  });
  return {
    injector: configuration('MutatingWebhookConfiguration', injectorConfiguration.name, [injector(values)]),
    policies: configuration('ValidatingWebhookConfiguration', policiesConfiguration.name, policies(values)),
  };
}

function injector(values: WebhookService) {
  const { namespace } = values;
  return {
    name: injectorConfiguration.webhook,
    ...common(values, webhookPaths.inject),
    // A second call would find the sidecar, and change nothing.
    reinvocationPolicy: 'Never',
    rules: [rule({ apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], scope: 'Namespaced' }, ['CREATE'])],
    namespaceSelector: {
      matchLabels: { [injectLabel]: 'enabled' },
      matchExpressions: [
        { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: namespacesLeftAlone(namespace) },
      ],
    },
    objectSelector: { matchExpressions: [{ key: injectLabel, operator: 'NotIn', values: ['disabled'] }] },
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

function policies(values: WebhookService) {
  return [
    {
      name: policiesConfiguration.webhook,
      ...common(values, webhookPaths.validate),
      rules: [
        rule(ours('servicepolicies', 'Namespaced'), ['CREATE', 'UPDATE']),
        rule(ours('cells', 'Cluster'), ['UPDATE', 'DELETE']),
      ],
      // What is on its way out must be able to go, with the control plane or without it.
      matchConditions: [
        { name: 'not-terminating', expression: 'object == null || !has(object.metadata.deletionTimestamp)' },
      ],
    },
    {
      name: policiesConfiguration.firstCell,
      ...common(values, webhookPaths.validate),
      // Without a Cell there is no certificate to serve with: the first one is taken unseen.
      failurePolicy: 'Ignore',
      rules: [rule(ours('cells', 'Cluster'), ['CREATE'])],
    },
  ];
}

function common({ namespace, service }: WebhookService, path: string) {
  return {
    clientConfig: { service: { namespace, name: service.name, port: service.port, path } },
    admissionReviewVersions: ['v1'],
    // Also with another version of the API: the server translates.
    matchPolicy: 'Equivalent',
    sideEffects: 'None',
    timeoutSeconds: 5,
    failurePolicy: 'Fail',
  };
}

function ours(resource: string, scope: string) {
  return { apiGroups: ['cellmesh.io'], apiVersions: ['v1alpha1'], resources: [resource], scope };
}

function rule<Resources extends object>(resources: Resources, operations: readonly string[]) {
  return { ...resources, operations };
}
