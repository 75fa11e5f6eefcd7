import { misshapen } from './pod-shape.ts';

/** As much of a pod, or of the template of one, as is looked at; everything else passes through as it is. */
export interface Pod {
  readonly metadata?: Metadata;
  readonly spec: PodSpec;
}

interface Metadata {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

export interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly Named[];
  readonly serviceAccountName?: string;
  /** Its former name; the API server fills both. */
  readonly serviceAccount?: string;
  readonly hostNetwork?: boolean;
  readonly terminationGracePeriodSeconds?: number;
  readonly securityContext?: SecurityContext;
  readonly os?: { readonly name?: string };
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

interface Named {
  readonly name: string;
  readonly [field: string]: unknown;
}

export interface Container extends Named {
  readonly restartPolicy?: string;
  readonly ports?: readonly ContainerPort[];
  readonly securityContext?: SecurityContext;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly startupProbe?: Probe;
  readonly lifecycle?: { readonly postStart?: Handler; readonly preStop?: Handler };
}

interface SecurityContext {
  readonly runAsUser?: number;
  readonly [field: string]: unknown;
}

export interface ContainerPort {
  readonly name?: string;
  readonly containerPort: number;
  readonly [field: string]: unknown;
}

export interface Handler {
  readonly httpGet?: HttpGet;
  readonly tcpSocket?: { readonly port: number | string; readonly host?: string };
  readonly grpc?: { readonly port: number; readonly service?: string };
  readonly [field: string]: unknown;
}

interface HttpGet {
  readonly path?: string;
  readonly port: number | string;
  readonly host?: string;
  readonly scheme?: string;
  readonly httpHeaders?: readonly { readonly name: string; readonly value?: string }[];
}

export interface Probe extends Handler {
  readonly timeoutSeconds?: number;
}

/** `value` as a pod where it has the shape of one, else what it lacks. The API server has more to say about it. */
export function readPod(value: unknown): Pod | string {
  const problem = misshapen(value);
  if (problem !== undefined) return problem;
  const { spec, ...rest } = (value ?? {}) as Partial<Pod>;
  if (spec == null) return 'it has no `spec`';
  const { containers, initContainers } = spec;
  if (containers == null) return 'it has no `containers`';
  if ([...containers, ...(initContainers ?? [])].some(({ name }) => name == null)) return 'a container has no name';
  return {
    ...rest,
    spec: {
      ...withoutNulls(spec),
      containers: containers.map(withoutNulls),
      ...(initContainers != null && { initContainers: initContainers.map(withoutNulls) }),
    },
  };
}

/** Nothing is a value that YAML has and Kubernetes takes for absence. */
function withoutNulls<T extends object>(map: T): T {
  return Object.fromEntries(Object.entries(map).filter(([, value]) => value !== null)) as T;
}
