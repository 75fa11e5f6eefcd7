import type { Container, Pod } from '#control-plane/injector/pod.ts';

/** What of a pod the profile `restricted` of the Pod Security Standards looks at, beside what the injector does. */
interface SecuredContainer extends Container {
  readonly securityContext?: {
    readonly runAsUser?: number;
    readonly allowPrivilegeEscalation?: boolean;
    readonly privileged?: boolean;
    readonly runAsNonRoot?: boolean;
    readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
    readonly seccompProfile?: { readonly type?: string };
    readonly procMount?: string;
  };
}

const volumeKinds = [
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
];

/**
 * How a pod breaks the profile `restricted`, baseline included, by the words of the Pod Security Standards of Kubernetes 1.37; AppArmor, SELinux, sysctls
 * and Windows left out. https://kubernetes.io/docs/concepts/security/pod-security-standards/
 */
export function restrictedViolations({ spec }: Pod): string[] {
  const ofPod = spec.securityContext as SecuredContainer['securityContext'];
  const containers = [
    ...(spec.initContainers ?? []),
    ...spec.containers,
    ...((spec['ephemeralContainers'] ?? []) as Container[]),
  ] as readonly SecuredContainer[];
  const found = ['hostNetwork', 'hostPID', 'hostIPC'].filter((name) => spec[name] === true);
  for (const volume of spec.volumes ?? []) {
    const kind = Object.keys(volume).find((name) => name !== 'name');
    if (kind !== undefined && !volumeKinds.includes(kind)) found.push(`volume ${volume.name} is of kind ${kind}`);
  }
  if (ofPod?.runAsUser === 0) found.push('the pod runs as root');
  if (ofPod?.runAsNonRoot === false) found.push('the pod may run as root');
  if (!isSeccomp(ofPod?.seccompProfile?.type ?? 'RuntimeDefault')) found.push('the pod has no seccomp profile');
  for (const container of containers) {
    found.push(...violationsOf(container, ofPod).map((what) => `${container.name}: ${what}`));
  }
  return found;
}

function violationsOf(container: SecuredContainer, ofPod: SecuredContainer['securityContext']): string[] {
  const own = container.securityContext;
  const { add = [], drop = [] } = own?.capabilities ?? {};
  const probes = [container.livenessProbe, container.readinessProbe, container.startupProbe];
  const handlers = [...probes, container.lifecycle?.postStart, container.lifecycle?.preStop];
  const rules: readonly (readonly [isBroken: boolean, what: string])[] = [
    [own?.privileged === true, 'privileged'],
    [own?.allowPrivilegeEscalation !== false, 'may gain privileges'],
    [(own?.runAsNonRoot ?? ofPod?.runAsNonRoot) !== true, 'may run as root'],
    [own?.runAsUser === 0, 'runs as root'],
    [!isSeccomp(own?.seccompProfile?.type ?? ofPod?.seccompProfile?.type), 'no seccomp profile'],
    [!drop.includes('ALL'), 'keeps capabilities'],
    [add.some((name) => name !== 'NET_BIND_SERVICE'), `adds ${add.join()}`],
    [(own?.procMount ?? 'Default') !== 'Default', 'unmasked /proc'],
    [(container.ports ?? []).some((port) => Boolean(port['hostPort'])), 'a port of the host'],
    [handlers.some((one) => Boolean(one?.httpGet?.host ?? one?.tcpSocket?.host)), 'a probe or hook of another host'],
  ];
  return rules.filter(([isBroken]) => isBroken).map(([, what]) => what);
}

function isSeccomp(type: string | undefined): boolean {
  return type === 'RuntimeDefault' || type === 'Localhost';
}
