import { controlPlaneId } from '#certs/reserved-ids.ts';
import { sidecarName, sidecarPortName, sidecarPorts } from '#kubernetes/sidecar-ports.ts';
import { environmentNameOf } from '#runtime/config.ts';
import type { PodOptions } from './annotations.ts';
import type { Container, PodSpec } from './pod.ts';
import type { InjectorSettings } from './settings.ts';

type Volumes = NonNullable<PodSpec['volumes']>;

export interface Injected {
  readonly options: PodOptions;
  readonly settings: InjectorSettings;
  readonly isTransparent: boolean;
  /** The text of recorded probes; undefined when there are none. */
  readonly probes: string | undefined;
}

const stateDir = '/run/cellmesh';
const trustDir = '/run/secrets/cellmesh';
const trustBundleFile = 'trust-bundle.json';
const volumeNames = { state: 'cellmesh-state', decisions: 'cellmesh-decisions', trust: 'cellmesh-trust' } as const;

/** Until there is an SVID the application waits, however long the control plane is away: a pod that is killed for it gets no further. */
const startupSeconds = 3600;
/** Kubernetes' own default; the kubelet puts a new one in place at 80 %. */
const tokenSeconds = 3600;

/** Clean under Pod Security `restricted`, whatever the pod says for all of its containers. */
const restricted = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  privileged: false,
  readOnlyRootFilesystem: true,
  seccompProfile: { type: 'RuntimeDefault' },
} as const;

/** A native sidecar: an init container that goes on, so that it is there before all others and after them, and no Job waits for its end. */
export function sidecarContainer(injected: Injected): Container {
  const { options, settings } = injected;
  return {
    name: sidecarName,
    image: options.image ?? settings.image,
    imagePullPolicy: settings.imagePullPolicy,
    restartPolicy: 'Always',
    command: ['cellmesh', 'sidecar'],
    env: environment(injected),
    ports: [
      { name: sidecarPortName, containerPort: sidecarPorts.inbound, protocol: 'TCP' },
      { name: 'cellmesh-health', containerPort: sidecarPorts.health, protocol: 'TCP' },
    ],
    // No liveness probe: one that fails under load would kill the way of requests that are on it.
    startupProbe: { ...asked('/startupz'), periodSeconds: 1, failureThreshold: startupSeconds },
    readinessProbe: { ...asked('/readyz'), periodSeconds: 2, failureThreshold: 2, timeoutSeconds: 2 },
    lifecycle: { preStop: { exec: { command: ['cellmesh', 'drain'] } } },
    resources: resources(injected),
    securityContext: { ...restricted, runAsNonRoot: true, runAsUser: settings.uid, runAsGroup: settings.uid },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [
      { name: volumeNames.state, mountPath: stateDir },
      { name: volumeNames.decisions, mountPath: `${stateDir}/decisions` },
      { name: volumeNames.trust, mountPath: trustDir, readOnly: true },
    ],
  };
}

/** Keys lie in memory. Recorded decisions do not: they may be 32 MiB, and are no secret that a key is. */
export function sidecarVolumes({ settings }: Injected): Volumes {
  const { tokenAudience, trustDomain, trustBundleConfigMap } = settings;
  const audience = tokenAudience ?? controlPlaneId(trustDomain);
  return [
    { name: volumeNames.state, emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } },
    { name: volumeNames.decisions, emptyDir: { sizeLimit: '64Mi' } },
    {
      name: volumeNames.trust,
      projected: {
        sources: [
          { serviceAccountToken: { audience, expirationSeconds: tokenSeconds, path: 'token' } },
          { configMap: { name: trustBundleConfigMap, items: [{ key: trustBundleFile, path: trustBundleFile }] } },
        ],
      },
    },
  ];
}

export const volumeNamesInUse: readonly string[] = Object.values(volumeNames);

/** What goes through the sidecar's own limits, for its init container too. */
export function resources({ options, settings }: Injected) {
  const cpuLimit = options.cpuLimit ?? settings.cpuLimit;
  return {
    requests: {
      cpu: options.cpuRequest ?? settings.cpuRequest,
      memory: options.memoryRequest ?? settings.memoryRequest,
    },
    limits: {
      ...(cpuLimit !== undefined && { cpu: cpuLimit }),
      memory: options.memoryLimit ?? settings.memoryLimit,
    },
  };
}

function environment({ options, settings, isTransparent, probes }: Injected): object[] {
  const { host, port } = settings.controlPlane;
  // By the names of the sidecar's settings.
  const values: Readonly<Record<string, string | undefined>> = {
    cellId: settings.cellId,
    trustDomain: settings.trustDomain,
    globalTrustDomain: settings.globalTrustDomain,
    controlPlane: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
    trustBundle: `${trustDir}/${trustBundleFile}`,
    attestTokenFile: `${trustDir}/token`,
    stateDir,
    // By whichever family the pod has, or both.
    inbound: `[::]:${sidecarPorts.inbound}`,
    health: `[::]:${sidecarPorts.health}`,
    interceptedPort: isTransparent ? String(sidecarPorts.intercepted) : undefined,
    // What answers at the pod's address is not what others reach there: they are redirected.
    openPortVouched: isTransparent || options.openPortVouched ? 'true' : undefined,
    logLevel: options.logLevel,
    accessLog: options.accessLog,
    workers: options.workers,
    settle: options.settle,
    drain: options.drain,
    probes,
  };
  const fields = {
    namespace: 'metadata.namespace',
    serviceAccount: 'spec.serviceAccountName',
    advertise: 'status.podIP',
    podAddresses: 'status.podIPs',
  };
  return [
    ...Object.entries(fields).map(([name, fieldPath]) => ({
      name: environmentNameOf(name),
      valueFrom: { fieldRef: { fieldPath } },
    })),
    ...Object.entries(values)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => ({ name: environmentNameOf(name), value })),
  ];
}

function asked(path: string) {
  return { httpGet: { path, port: sidecarPorts.health } };
}
