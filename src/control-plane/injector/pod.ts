/** As much of a pod, or of the template of one, as is looked at; everything else passes through as it is. */
export interface Pod {
  readonly metadata?: Metadata;
  readonly spec: PodSpec;
}

interface Metadata {
  readonly annotations?: Readonly<Record<string, string>>;
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
  const spec = mapAt(value, 'spec');
  if (spec === undefined) return 'it has no `spec`';
  for (const list of ['containers', 'initContainers', 'volumes']) {
    const items = spec[list] ?? [];
    if (!Array.isArray(items) || !items.every((item) => typeof mapOf(item)?.['name'] === 'string')) {
      return `\`${list}\` is not a list of maps with a name`;
    }
  }
  if (!Array.isArray(spec['containers'])) return 'it has no `containers`';
  const annotations = mapAt(mapAt(value, 'metadata') ?? {}, 'annotations') ?? {};
  if (Object.values(annotations).some((text) => typeof text !== 'string')) {
    return 'its annotations are not all text: put numbers and true or false in quotes';
  }
  const broken = [spec, ...lists(spec)].flatMap(brokenPart).at(0);
  if (broken !== undefined) return broken;
  const given = value as Pod;
  return { ...given, spec: { ...(withoutNulls(spec) as unknown as PodSpec), ...cleanLists(spec) } };
}

/** Nothing is a value that YAML has and Kubernetes takes for absence. */
function withoutNulls(map: object): object {
  return Object.fromEntries(Object.entries(map).filter(([, value]) => value !== null));
}

function cleanLists(spec: Record<string, unknown>): Pick<PodSpec, 'containers' | 'initContainers'> {
  const clean = (list: unknown) => (list as object[]).map((item) => withoutNulls(item) as Container);
  return {
    containers: clean(spec['containers']),
    ...(spec['initContainers'] != null && { initContainers: clean(spec['initContainers']) }),
  };
}

function lists(spec: Record<string, unknown>): Record<string, unknown>[] {
  return ['containers', 'initContainers'].flatMap((list) => (spec[list] ?? []) as Record<string, unknown>[]);
}

/** What is read further down must be a map, or a list of maps, where it is there at all. */
function brokenPart(part: Record<string, unknown>): string[] {
  const maps = [
    'securityContext',
    'lifecycle',
    'livenessProbe',
    'readinessProbe',
    'startupProbe',
    'os',
    'nodeSelector',
  ];
  const wrong = maps.filter((name) => part[name] != null && mapOf(part[name]) === undefined);
  const ports = part['ports'] ?? [];
  const isWrong = !Array.isArray(ports) || ports.some((port) => mapOf(port) === undefined);
  return [...wrong, ...(isWrong ? ['ports'] : [])].map(
    (name) => `\`${name}\` has a form that Kubernetes does not know`,
  );
}

function mapAt(value: unknown, name: string): Record<string, unknown> | undefined {
  return mapOf(mapOf(value)?.[name]);
}

function mapOf(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
