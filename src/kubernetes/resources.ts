import { listAt, numberAt, textAt, textsAt, valueAt } from './json.ts';
import { sidecarName, sidecarPortName, sidecarPorts } from './sidecar-ports.ts';

/** One kind of objects: where they are, and what is kept of one. Reading bounds what an informer holds. */
export interface Resource<T> {
  /** `v1`, `authentication.k8s.io/v1`. */
  readonly apiVersion: string;
  readonly kind: string;
  readonly plural: string;
  readonly isNamespaced: boolean;
  readonly read: (object: unknown) => T;
}

/** What there is to know of a pod before it gets an identity, or requests. */
export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly serviceAccount: string;
  /** Empty until it is scheduled. */
  readonly node: string;
  /** `status.podIPs`; empty until the kubelet has told. */
  readonly addresses: readonly string[];
  readonly isReady: boolean;
  /** Succeeded or failed: it will not run again. */
  readonly hasEnded: boolean;
  readonly isTerminating: boolean;
  readonly allowsDefaultServiceAccount: boolean;
  /** Where its sidecar takes mesh connections; undefined where it has none. */
  readonly sidecarPort: number | undefined;
  /** Where its node is, as Kubernetes tells pods since 1.35; empty before. */
  readonly zone: string;
}

const zoneLabel = 'topology.kubernetes.io/zone';
const allowDefaultAnnotation = 'cellmesh.io/allow-default-service-account';

export const pods: Resource<Pod> = {
  apiVersion: 'v1',
  kind: 'Pod',
  plural: 'pods',
  isNamespaced: true,
  read(object) {
    const phase = textAt(object, 'status', 'phase');
    const addresses = listAt(object, 'status', 'podIPs').map((entry) => textAt(entry, 'ip') ?? '');
    const conditions = listAt(object, 'status', 'conditions');
    return {
      namespace: textAt(object, 'metadata', 'namespace') ?? '',
      name: textAt(object, 'metadata', 'name') ?? '',
      uid: textAt(object, 'metadata', 'uid') ?? '',
      serviceAccount: textAt(object, 'spec', 'serviceAccountName') ?? '',
      node: textAt(object, 'spec', 'nodeName') ?? '',
      addresses: addresses.filter((ip) => ip !== ''),
      isReady: conditions.some((one) => textAt(one, 'type') === 'Ready' && textAt(one, 'status') === 'True'),
      hasEnded: phase === 'Succeeded' || phase === 'Failed',
      isTerminating: textAt(object, 'metadata', 'deletionTimestamp') !== undefined,
      sidecarPort: sidecarPortOf(object),
      zone: textAt(object, 'metadata', 'labels', zoneLabel) ?? '',
      allowsDefaultServiceAccount: textAt(object, 'metadata', 'annotations', allowDefaultAnnotation) === 'true',
    };
  },
};

/** Where a node is. */
export interface PlacedNode {
  readonly name: string;
  readonly zone: string;
}

export const nodes: Resource<PlacedNode> = {
  apiVersion: 'v1',
  kind: 'Node',
  plural: 'nodes',
  isNamespaced: false,
  read: (object) => ({
    name: textAt(object, 'metadata', 'name') ?? '',
    zone: textAt(object, 'metadata', 'labels', zoneLabel) ?? '',
  }),
};

/** Of the port that is named, or the usual one; the sidecar is an init container that goes on. */
function sidecarPortOf(pod: unknown): number | undefined {
  const containers = [...listAt(pod, 'spec', 'initContainers'), ...listAt(pod, 'spec', 'containers')];
  const sidecar = containers.find((one) => textAt(one, 'name') === sidecarName);
  if (sidecar === undefined) return undefined;
  const named = listAt(sidecar, 'ports').find((port) => textAt(port, 'name') === sidecarPortName);
  return numberAt(named, 'containerPort') ?? sidecarPorts.inbound;
}

/** Whose token it is, as a SubjectAccessReview takes it. */
interface TokenUser {
  readonly username: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** What the API server says of a token. */
export interface TokenVerdict {
  readonly isAuthenticated: boolean;
  /** Why not; for logs. */
  readonly error: string;
  /** Those that were asked for and that the token has. */
  readonly audiences: readonly string[];
  readonly username: string;
  readonly user: TokenUser;
  /** The first value of an extra field of the user, or undefined. */
  readonly extra: (name: string) => string | undefined;
}

export const tokenReviews: Resource<TokenVerdict> = {
  apiVersion: 'authentication.k8s.io/v1',
  kind: 'TokenReview',
  plural: 'tokenreviews',
  isNamespaced: false,
  read: (object) => ({
    isAuthenticated: valueAt(object, 'status', 'authenticated') === true,
    error: textAt(object, 'status', 'error') ?? '',
    audiences: textsAt(object, 'status', 'audiences'),
    username: textAt(object, 'status', 'user', 'username') ?? '',
    user: userOf(valueAt(object, 'status', 'user')),
    extra: (name) => textsAt(object, 'status', 'user', 'extra', `authentication.kubernetes.io/${name}`)[0],
  }),
};

function userOf(user: unknown): TokenUser {
  const extra = Object.keys(valueAt(user, 'extra') ?? {}).map((name) => [name, textsAt(user, 'extra', name)] as const);
  return {
    username: textAt(user, 'username') ?? '',
    uid: textAt(user, 'uid') ?? '',
    groups: textsAt(user, 'groups'),
    extra: Object.fromEntries(extra),
  };
}
