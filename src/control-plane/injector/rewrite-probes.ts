import { probePath, type RecordedProbe } from '#api/recorded-probes.ts';
import { sidecarPorts } from '#kubernetes/sidecar-ports.ts';
import { annotationOf } from './annotations.ts';
import type { Container, ContainerPort, Handler, PodSpec, Probe } from './pod.ts';

/** Collects what the sidecar has to ask, and what cannot be understood. */
export interface Recording {
  readonly probes: Map<string, RecordedProbe>;
  readonly problems: string[];
  /** Hooks of the pod may be called by whoever reaches the health port. */
  readonly openHooks: boolean;
}

const probeKinds = { livenessProbe: 'liveness', readinessProbe: 'readiness', startupProbe: 'startup' } as const;
const hookKinds = { postStart: 'post-start', preStop: 'pre-stop' } as const;

/** The kubelet waits for a hook as long as the pod may take to end. */
const graceSecondsDefault = 30;
/** Of Kubernetes. */
const timeoutSecondsDefault = 1;

/**
 * The kubelet can speak neither to an application on loopback nor mutual TLS: what it asks by HTTP, TCP or gRPC it asks the sidecar, which asks
 * the application. Commands stay, and so does what names a host of its own: that is another machine's answer.
 */
export function rewriteProbes(spec: PodSpec, recording: Recording): PodSpec {
  const rewrite = (container: Container) => rewriteContainer(container, spec, recording);
  return {
    ...spec,
    // Only native sidecars among them may have any.
    ...(spec.initContainers && { initContainers: spec.initContainers.map(rewrite) }),
    containers: spec.containers.map(rewrite),
  };
}

function rewriteContainer(container: Container, spec: PodSpec, recording: Recording): Container {
  const changed: Record<string, unknown> = {};
  for (const [field, kind] of Object.entries(probeKinds) as [keyof typeof probeKinds, string][]) {
    const probe = container[field];
    if (probe == null) continue;
    const timeoutMs = (probe.timeoutSeconds ?? timeoutSecondsDefault) * 1000;
    changed[field] = rewriteHandler(probe, kind, timeoutMs, container, recording);
  }
  const { lifecycle } = container;
  const hooks: Record<string, unknown> = {};
  for (const [field, kind] of Object.entries(hookKinds) as [keyof typeof hookKinds, string][]) {
    const hook = lifecycle?.[field];
    // A hook by TCP is obsolete, and fails.
    if (hook?.httpGet == null) continue;
    if (!recording.openHooks) {
      recording.problems.push(
        `the ${kind} hook of ${container.name} asks by HTTP, past the sidecar: make it a command, or set ${annotationOf('openHooks')} to "true" if anybody may call it`,
      );
      continue;
    }
    const timeoutMs = Math.max(1, spec.terminationGracePeriodSeconds ?? graceSecondsDefault) * 1000;
    hooks[field] = rewriteHandler(hook, kind, timeoutMs, container, recording);
  }
  if (Object.keys(hooks).length > 0) changed['lifecycle'] = { ...lifecycle, ...hooks };
  return { ...container, ...changed };
}

function rewriteHandler(
  handler: Handler | Probe,
  kind: string,
  timeoutMs: number,
  container: Container,
  { probes, problems }: Recording,
): Handler {
  const { httpGet, tcpSocket, grpc, ...rest } = handler;
  if (httpGet?.host || tcpSocket?.host) return handler;
  const asked = httpGet ?? tcpSocket ?? grpc;
  if (asked == null) return handler;
  const port = portOf(asked.port, container.ports ?? []);
  if (port === undefined) {
    problems.push(
      `the ${kind} probe or hook of ${container.name} asks port ${JSON.stringify(asked.port)}, which is none of the container`,
    );
    return handler;
  }
  const path = probePath(container.name, kind);
  if (httpGet != null) {
    probes.set(path, { kind: 'http', port, timeoutMs, ...httpQuestion(httpGet), isRelayed: false });
  } else if (tcpSocket != null) probes.set(path, { kind: 'tcp', port, timeoutMs });
  else probes.set(path, { kind: 'grpc', port, timeoutMs, service: grpc?.service ?? '' });
  return { httpGet: { path, port: sidecarPorts.health }, ...rest };
}

function httpQuestion(httpGet: NonNullable<Handler['httpGet']>) {
  const path = httpGet.path ?? '/';
  const { scheme, httpHeaders } = httpGet;
  return {
    scheme: scheme === 'HTTPS' ? 'https' : 'http',
    path: path.startsWith('/') ? path : `/${path}`,
    headers: (httpHeaders ?? []).map(({ name, value }) => [name, value ?? ''] as const),
  } as const;
}

/** By number or by the name that the container gives it. */
function portOf(port: number | string, ports: readonly ContainerPort[]): number | undefined {
  if (typeof port === 'string') return ports.find(({ name }) => name === port)?.containerPort;
  return port >= 1 && port <= 65_535 ? port : undefined;
}
