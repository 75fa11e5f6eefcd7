import { annotationOf, readAnnotations } from '#control-plane/injector/annotations.ts';
import { listAt, numberAt, textAt, valueAt } from '#kubernetes/json.ts';
import type { Resource } from '#kubernetes/resources.ts';
import { interceptName, sidecarName } from '#kubernetes/sidecar-ports.ts';
import type { DeploymentFacts, LeaseFacts, MeshPod, MeshService, PolicyObject } from '../cluster-facts.ts';
import { authoritiesOf } from './authorities.ts';

/** Label of a namespace that has opted in. */
export const optInLabel = annotationOf('inject');

interface Kind {
  readonly apiVersion: string;
  readonly kind: string;
  readonly plural: string;
}

function namespaced<T>(kind: Kind, read: (object: unknown) => T): Resource<T> {
  return { ...kind, isNamespaced: true, read };
}

function ofCluster<T>(kind: Kind, read: (object: unknown) => T): Resource<T> {
  return { ...kind, isNamespaced: false, read };
}

const core = (kind: string, plural: string): Kind => ({ apiVersion: 'v1', kind, plural });
const coordination: Kind = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', plural: 'leases' };
const mesh = (kind: string, plural: string): Kind => ({ apiVersion: 'cellmesh.io/v1alpha1', kind, plural });

export const namespaceNames = ofCluster(core('Namespace', 'namespaces'), nameOf);

export const configMaps = namespaced(core('ConfigMap', 'configmaps'), (object) => ({
  data: (file: string) => textAt(object, 'data', file),
}));

export const deployments = namespaced<DeploymentFacts>(
  { apiVersion: 'apps/v1', kind: 'Deployment', plural: 'deployments' },
  (object) => ({
    wanted: numberAt(object, 'spec', 'replicas') ?? 1,
    ready: numberAt(object, 'status', 'readyReplicas') ?? 0,
  }),
);

export const disruptionBudgets = namespaced(
  { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', plural: 'poddisruptionbudgets' },
  nameOf,
);

export const leases = namespaced<LeaseFacts & { readonly name: string }>(coordination, (object) => ({
  name: nameOf(object),
  holder: textAt(object, 'spec', 'holderIdentity') ?? '',
  renewedMs: Date.parse(textAt(object, 'spec', 'renewTime') ?? '') || 0,
  durationMs: (numberAt(object, 'spec', 'leaseDurationSeconds') ?? 15) * 1000,
}));

export const customResources = ofCluster(
  { apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition', plural: 'customresourcedefinitions' },
  (object) => {
    const versions = listAt(object, 'spec', 'versions').filter((one) => valueAt(one, 'served') === true);
    const fields = versions.flatMap((one) =>
      Object.keys(valueAt(one, 'schema', 'openAPIV3Schema', 'properties', 'spec', 'properties') ?? {}),
    );
    return {
      isEstablished: isTrue(object, 'Established'),
      served: versions.map(nameAt),
      specFields: fields,
    };
  },
);

export const networkPolicies = namespaced(
  { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', plural: 'networkpolicies' },
  (object) => ({
    namespace: namespaceOf(object),
    isAboutIngress: listAt(object, 'spec', 'policyTypes').includes('Ingress'),
  }),
);

export const services = namespaced<MeshService>(core('Service', 'services'), (object) => ({
  namespace: namespaceOf(object),
  name: nameOf(object),
  selector: textMap(object, 'spec', 'selector'),
  targetPorts: listAt(object, 'spec', 'ports').map(
    (port) => numberAt(port, 'targetPort') ?? textAt(port, 'targetPort') ?? numberAt(port, 'port') ?? 0,
  ),
}));

export const pods = namespaced<MeshPod>(core('Pod', 'pods'), (object) => {
  const annotations = textMap(object, 'metadata', 'annotations');
  const options = readAnnotations(annotations);
  const said = 'inject' in options ? options : undefined;
  const phase = textAt(object, 'status', 'phase');
  const containers = [...listAt(object, 'spec', 'initContainers'), ...listAt(object, 'spec', 'containers')];
  const labels = textMap(object, 'metadata', 'labels');
  const sidecar = containers.find((one) => nameAt(one) === sidecarName);
  return {
    namespace: namespaceOf(object),
    name: nameOf(object),
    serviceAccount: textAt(object, 'spec', 'serviceAccountName') ?? 'default',
    hasEnded: phase === 'Succeeded' || phase === 'Failed',
    isHostNetwork: valueAt(object, 'spec', 'hostNetwork') === true,
    isOptedOut: said?.inject === 'disabled' || labels[optInLabel] === 'disabled',
    allowsDefaultServiceAccount: said?.allowDefaultServiceAccount === true,
    allowsHostNetwork: said?.allowHostNetwork === true,
    sidecarImage: sidecar === undefined ? undefined : textAt(sidecar, 'image'),
    wantsTransparent: said?.mode === 'transparent',
    interception: interceptionOf(object, containers),
    excludedInboundPorts: (said?.excludeInboundPorts ?? []).map(Number),
    labels,
    portsByName: Object.fromEntries(
      containers
        .flatMap((one) => listAt(one, 'ports'))
        .map((port) => [textAt(port, 'name') ?? '', numberAt(port, 'containerPort') ?? 0]),
    ),
  };
});

export const servicePolicies = namespaced(mesh('ServicePolicy', 'servicepolicies'), (object) =>
  policyObjectOf(object, 'ServicePolicy'),
);

export const cells = ofCluster(mesh('Cell', 'cells'), (object) => policyObjectOf(object, 'Cell'));

/** What a webhook configuration says of its first webhook with a name of ours. */
function webhookResource(kind: string, plural: string) {
  return ofCluster({ apiVersion: 'admissionregistration.k8s.io/v1', kind, plural }, (object) =>
    listAt(object, 'webhooks').map((one) => ({
      name: nameAt(one),
      failurePolicy: textAt(one, 'failurePolicy') ?? '',
      authorities: authoritiesOf(textAt(one, 'clientConfig', 'caBundle') ?? ''),
      optInLabel: textAt(one, 'namespaceSelector', 'matchLabels', optInLabel),
      timeoutSeconds: numberAt(one, 'timeoutSeconds') ?? 10,
    })),
  );
}

export const mutatingWebhooks = webhookResource('MutatingWebhookConfiguration', 'mutatingwebhookconfigurations');
export const validatingWebhooks = webhookResource('ValidatingWebhookConfiguration', 'validatingwebhookconfigurations');

export const accessReviews = ofCluster(
  { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', plural: 'subjectaccessreviews' },
  (object) => valueAt(object, 'status', 'allowed') === true,
);

function policyObjectOf(object: unknown, kind: string): PolicyObject {
  const namespace = namespaceOf(object);
  const name = nameOf(object);
  const document = {
    apiVersion: 'cellmesh.io/v1alpha1',
    kind,
    metadata: { name, ...(namespace !== '' && { namespace }) },
    spec: valueAt(object, 'spec'),
  };
  const accepted = conditionOf(object, 'Accepted');
  const programmed = conditionOf(object, 'Programmed');
  return {
    name: namespace === '' ? `${kind} ${name}` : `${kind} ${namespace}/${name}`,
    namespace,
    serviceAccount: textAt(object, 'spec', 'serviceAccount') ?? '',
    text: JSON.stringify(document, undefined, 2),
    accepted: accepted && {
      isAccepted: accepted.isTrue,
      isWhole: accepted.reason !== 'InForceInPart',
      message: accepted.message,
    },
    programmed: programmed && {
      isProgrammed: programmed.isTrue,
      message: programmed.message,
      sinceMs: programmed.sinceMs,
    },
  };
}

/** What is said of the generation that there is now. */
function conditionOf(object: unknown, type: string) {
  const found = listAt(object, 'status', 'conditions').find((one) => textAt(one, 'type') === type);
  if (found === undefined) return undefined;
  if (numberAt(found, 'observedGeneration') !== numberAt(object, 'metadata', 'generation')) return undefined;
  return {
    isTrue: textAt(found, 'status') === 'True',
    reason: textAt(found, 'reason') ?? '',
    message: textAt(found, 'message') ?? '',
    sinceMs: Date.parse(textAt(found, 'lastTransitionTime') ?? '') || 0,
  };
}

function interceptionOf(object: unknown, containers: readonly unknown[]): MeshPod['interception'] {
  if (!containers.some((one) => nameAt(one) === interceptName)) return 'missing';
  const status = listAt(object, 'status', 'initContainerStatuses').find((one) => nameAt(one) === interceptName);
  const exitCode = numberAt(status, 'state', 'terminated', 'exitCode');
  if (exitCode === undefined) return 'waiting';
  return exitCode === 0 ? 'done' : 'failed';
}

function isTrue(object: unknown, condition: string): boolean {
  return listAt(object, 'status', 'conditions').some(
    (one) => textAt(one, 'type') === condition && textAt(one, 'status') === 'True',
  );
}

function nameOf(object: unknown): string {
  return textAt(object, 'metadata', 'name') ?? '';
}

function namespaceOf(object: unknown): string {
  return textAt(object, 'metadata', 'namespace') ?? '';
}

function nameAt(object: unknown): string {
  return textAt(object, 'name') ?? '';
}

function textMap(object: unknown, ...keys: readonly string[]): Readonly<Record<string, string>> {
  const found = valueAt(object, ...keys);
  const entries = typeof found === 'object' && found !== null ? Object.entries(found) : [];
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}
