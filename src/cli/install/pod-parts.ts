import type { Tree, TreeMap } from './tree.ts';
import { given, when } from './tree.ts';

/** What an installation is called, and by whom it is managed. */
export interface Release {
  readonly namespace: string;
  readonly managedBy: string;
  readonly version: string;
}

export type Component = 'control-plane' | 'identity' | 'router';

/** The files of an installation with their objects, in the order in which they are applied. */
export type InstallationFiles = Readonly<Record<string, Tree>>;

/** What all of our pods may: nothing that the profile `restricted` of Pod Security forbids, and no writing but into volumes. */
const securityContext = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  readOnlyRootFilesystem: true,
} as const;
/** No user of the image's own: distroless images call it `nonroot`. */
const user = 65_532;
/** The kubelet asks for as long as a start may take: an identity with many accounts, a control plane that waits for its intermediate. */
const startupSeconds = 300;

export const configDirectory = '/etc/cellmesh';
const stateVolumeDirectory = '/var/lib/cellmesh';
/** Within the volume, so that the process can make it its own alone. */
export const stateDirectory = `${stateVolumeDirectory}/state`;

export function selectorOf(component: Component): TreeMap {
  return { 'app.kubernetes.io/name': 'cellmesh', 'app.kubernetes.io/component': component };
}

export function labelsOf({ version, managedBy }: Release, component: Component): TreeMap {
  return {
    ...selectorOf(component),
    'app.kubernetes.io/part-of': 'cellmesh',
    'app.kubernetes.io/version': version,
    'app.kubernetes.io/managed-by': managedBy,
  };
}

/** Metadata of an object in the namespace of the installation. */
export function own(release: Release, component: Component, name: string, more: TreeMap = {}): TreeMap {
  return { name, namespace: release.namespace, labels: labelsOf(release, component), ...more };
}

/** Metadata of an object that is in no namespace. */
export function ofCluster(release: Release, component: Component, name: string, more: TreeMap = {}): TreeMap {
  return { name, labels: { ...labelsOf(release, component), ...more } };
}

export function serviceAccount(release: Release, component: Component, name = `cellmesh-${component}`): Tree {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: own(release, component, name) };
}

interface PodParts {
  readonly component: Component;
  readonly image: { readonly name: string; readonly pullPolicy: string; readonly pullSecrets: unknown };
  readonly scheduling: {
    readonly resources: unknown;
    readonly nodeSelector: unknown;
    readonly tolerations: unknown;
    readonly priorityClassName: unknown;
  };
  /** Only who speaks with the API server has a token for it. */
  readonly callsApiServer: boolean;
  /** Fields of the pod by the names of settings. */
  readonly environment: Readonly<Record<string, string>>;
  readonly ports: Readonly<Record<string, number>>;
  readonly healthPort: number;
  /** Each where it is mounted. Absent: whoever makes the pod has the volume `state`. */
  readonly volumes: readonly { readonly mountPath: string; readonly volume: TreeMap; readonly condition?: unknown }[];
}

/**
 * How long a process that is to go serves on as before: until no Service leads to it any more. The API server takes a webhook that does not answer
 * for a refusal, and customers a router. Every image of ours has Node; the hook `sleep` there is since Kubernetes 1.30 only.
 */
const goneAfterMs = 3_000;

/** The pod of one process. */
export function podSpec(parts: PodParts): TreeMap {
  const { component, image, scheduling, callsApiServer, volumes } = parts;
  return {
    serviceAccountName: `cellmesh-${component}`,
    automountServiceAccountToken: callsApiServer,
    priorityClassName: given(scheduling.priorityClassName),
    imagePullSecrets: given(image.pullSecrets),
    securityContext: {
      runAsNonRoot: true,
      runAsUser: user,
      runAsGroup: user,
      fsGroup: user,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    // No two on one node or in one zone, where there is a choice.
    topologySpreadConstraints: ['kubernetes.io/hostname', 'topology.kubernetes.io/zone'].map((topologyKey) => ({
      maxSkew: 1,
      topologyKey,
      whenUnsatisfiable: 'ScheduleAnyway',
      labelSelector: { matchLabels: selectorOf(component) },
    })),
    nodeSelector: given(scheduling.nodeSelector),
    tolerations: given(scheduling.tolerations),
    containers: [containerOf(parts)],
    volumes: volumes
      .filter(({ volume }) => Object.keys(volume).length > 1)
      .map(({ volume, condition }) => (condition === undefined ? volume : when(condition, volume))),
  };
}

function containerOf({ component, image, scheduling, environment, ports, healthPort, volumes }: PodParts): Tree {
  const asked = (path: string) => ({ httpGet: { path, port: 'health' } });
  return {
    name: component,
    image: image.name,
    imagePullPolicy: image.pullPolicy,
    command: ['cellmesh', component],
    args: ['--config', `${configDirectory}/config.yaml`],
    env: Object.entries(environment).map(([name, fieldPath]) => ({ name, valueFrom: { fieldRef: { fieldPath } } })),
    ports: Object.entries({ ...ports, health: healthPort }).map(([name, containerPort]) => ({ name, containerPort })),
    startupProbe: { ...asked('/healthz'), periodSeconds: 1, failureThreshold: startupSeconds },
    readinessProbe: { ...asked('/readyz'), periodSeconds: 2, failureThreshold: 2, timeoutSeconds: 2 },
    // Slow is not dead: under load a probe may wait.
    livenessProbe: { ...asked('/healthz'), periodSeconds: 10, failureThreshold: 6, timeoutSeconds: 5 },
    lifecycle: {
      preStop: {
        exec: {
          command: ['node', '-e', `Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${goneAfterMs})`],
        },
      },
    },
    resources: scheduling.resources as Tree,
    securityContext,
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: volumes.map(({ mountPath, volume, condition }) => {
      const isState = mountPath === stateVolumeDirectory || mountPath === '/tmp';
      const mount = { name: volume['name']!, mountPath, ...(!isState && { readOnly: true }) };
      return condition === undefined ? mount : when(condition, mount);
    }),
  };
}

/** Settings, as files. */
export function configVolume(name: string) {
  return { mountPath: configDirectory, volume: { name: 'config', configMap: { name } } };
}

/** What the process keeps. Without `volume` the volume comes from elsewhere. */
export function stateVolume(volume: TreeMap = {}) {
  return { mountPath: stateVolumeDirectory, volume: { name: 'state', ...volume } };
}

/** SQLite sorts there what is too much for memory. */
export const temporaryVolume = { mountPath: '/tmp', volume: { name: 'tmp', emptyDir: { sizeLimit: '256Mi' } } };

/** A disruption takes one at a time. `minAvailable: 1` would say less with three, and with one hold up every drain of its node. */
export function disruptionBudget(release: Release, component: Component): Tree {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: own(release, component, `cellmesh-${component}`),
    spec: { maxUnavailable: 1, selector: { matchLabels: selectorOf(component) } },
  };
}

export function podMonitor(release: Release, component: Component): Tree {
  return {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PodMonitor',
    metadata: own(release, component, `cellmesh-${component}`),
    spec: {
      selector: { matchLabels: selectorOf(component) },
      podMetricsEndpoints: [{ port: 'health', path: '/metrics' }],
    },
  };
}
