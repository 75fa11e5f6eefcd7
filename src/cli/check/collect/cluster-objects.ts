import { annotationOf, readAnnotations } from '#control-plane/injector/annotations.ts';
import { listAt, numberAt, textAt, valueAt } from '#kubernetes/json.ts';
import type { Resource } from '#kubernetes/resources.ts';
import type { Lease } from '#kubernetes/resources-lease.ts';
import {
  type Condition,
  documentOf,
  type PolicyObject as KubernetesPolicyObject,
  titleOf,
} from '#kubernetes/resources-policy.ts';
import { interceptName, sidecarName } from '#kubernetes/sidecar-ports.ts';
import type { DeploymentFacts, MeshPod, MeshService, PolicyObject } from '../cluster-facts.ts';
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

export function leaseFactsOf({ name, holder, renewTime = '', durationMs }: Lease) {
  return { name, holder, renewedMs: Date.parse(renewTime) || 0, durationMs };
}

export function policyFactsOf(object: KubernetesPolicyObject): PolicyObject {
  const accepted = conditionOf(object, 'Accepted');
  const programmed = conditionOf(object, 'Programmed');
  const serviceAccount = valueAt(object.spec, 'serviceAccount');
  return {
    name: titleOf(object),
    namespace: object.namespace ?? '',
    serviceAccount: typeof serviceAccount === 'string' ? serviceAccount : '',
    text: JSON.stringify(documentOf(object, object.spec), undefined, 2),
    accepted: accepted && {
      isAccepted: accepted.status === 'True',
      isWhole: accepted.reason !== 'InForceInPart',
      message: accepted.message,
    },
    programmed: programmed && {
      isProgrammed: programmed.status === 'True',
      message: programmed.message,
      sinceMs: Date.parse(programmed.lastTransitionTime) || 0,
    },
  };
}

/** What is said of the generation that there is now. */
function conditionOf({ generation, status }: KubernetesPolicyObject, type: string): Condition | undefined {
  return status.conditions.find((one) => one.type === type && one.observedGeneration === generation);
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
