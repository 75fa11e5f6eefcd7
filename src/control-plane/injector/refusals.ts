import { interceptName, sidecarPorts } from '#kubernetes/sidecar-ports.ts';
import { annotationOf, type PodOptions } from './annotations.ts';
import type { Container, Pod, PodSpec } from './pod.ts';
import type { InjectorSettings } from './settings.ts';
import { volumeNamesInUse } from './sidecar-container.ts';

/** Redirect connections as we would: the second would see what the first has made of them. */
const otherMeshes = [
  'istio-init',
  'istio-validation',
  'istio-proxy',
  'linkerd-init',
  'linkerd-network-validator',
  'linkerd-proxy',
];

/** Why this pod cannot be injected, each with what to do about it; empty when it can. */
export function refusals({ spec }: Pod, options: PodOptions, settings: InjectorSettings): readonly string[] {
  const isTransparent = (options.mode ?? settings.mode) === 'transparent';
  return [
    ...platform(spec),
    ...identity(spec, options),
    ...hostNetwork(spec, options, isTransparent),
    ...ownNames(spec),
    ...ownPorts(spec),
    ...ownUser(spec, settings),
    ...(isTransparent ? interception(spec) : exclusions(options)),
  ];
}

function platform({ os, nodeSelector }: PodSpec): string[] {
  const isWindows = os?.name === 'windows' || nodeSelector?.['kubernetes.io/os'] === 'windows';
  return isWindows
    ? [`it runs on Windows, where there is no sidecar: set ${annotationOf('inject')} to "disabled"`]
    : [];
}

/** Whose it is when it says nothing. */
export function serviceAccountOf({ serviceAccountName, serviceAccount }: PodSpec): string {
  return serviceAccountName || serviceAccount || 'default';
}

function identity(spec: PodSpec, options: PodOptions): string[] {
  if (serviceAccountOf(spec) !== 'default' || options.allowDefaultServiceAccount) return [];
  return [
    `it runs as the service account \`default\`, which every pod of the namespace may be: give it one of its own, or set ${annotationOf('allowDefaultServiceAccount')} to "true"`,
  ];
}

function hostNetwork({ hostNetwork }: PodSpec, options: PodOptions, isTransparent: boolean): string[] {
  if (hostNetwork !== true) return [];
  if (isTransparent)
    return ["it has the node's network (hostNetwork), whose connections cannot be redirected for one pod"];
  if (options.allowHostNetwork) return [];
  return [
    `it has the node's network (hostNetwork), so every process of the node could call out under its identity: do without, or set ${annotationOf('allowHostNetwork')} to "true"`,
  ];
}

/** A name of ours that is there already without the sidecar was not made by us. */
function ownNames(spec: PodSpec): string[] {
  const taken = (spec.volumes ?? []).filter(({ name }) => volumeNamesInUse.includes(name));
  return [
    ...taken.map(({ name }) => `it has a volume named ${name}, as the sidecar's is: rename it`),
    ...(all(spec).some(({ name }) => name === interceptName)
      ? [`it has a container named ${interceptName}, as the mesh's is: rename it`]
      : []),
  ];
}

function ownPorts(spec: PodSpec): string[] {
  const ours: readonly number[] = Object.values(sidecarPorts);
  return all(spec).flatMap(({ name, ports = [] }) =>
    ports
      .filter(({ containerPort }) => ours.includes(containerPort))
      .map(({ containerPort }) => `${name} listens at ${containerPort}, which is the sidecar's: choose another port`),
  );
}

function ownUser(spec: PodSpec, { uid }: InjectorSettings): string[] {
  const users = [
    ['the pod', spec.securityContext?.runAsUser],
    ...all(spec).map(({ name, securityContext }) => [name, securityContext?.runAsUser] as const),
  ] as const;
  return users
    .filter(([, user]) => user === uid)
    .map(([who]) => `${who} runs as user ${uid}, which is the sidecar's alone: choose another`);
}

function interception(spec: PodSpec): string[] {
  return all(spec)
    .filter(({ name }) => otherMeshes.includes(name))
    .map(
      ({ name }) => `${name} redirects its connections already: take the pod out of that mesh, or use explicit mode`,
    );
}

/** In explicit mode nothing is redirected, so whoever excludes something believes otherwise. */
function exclusions(options: PodOptions): string[] {
  const names = ['excludeInboundPorts', 'excludeOutboundPorts', 'excludeOutboundCidrs'] as const;
  return names
    .filter((name) => options[name].length > 0)
    .map((name) => `${annotationOf(name)}: nothing is redirected in explicit mode`);
}

function all({ containers, initContainers = [] }: PodSpec): readonly Container[] {
  return [...initContainers, ...containers];
}
