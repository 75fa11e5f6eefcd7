import { suggestion } from '#policy/suggestion.ts';
import { type Config, choice, duration, flag, integer, optional, type Settings } from '#runtime/config.ts';
import { messageOf } from '#runtime/errors.ts';
import { addressList, image, portList, quantity, verbatim } from './kubernetes-values.ts';
import { injectionModes } from './settings.ts';

/** What a pod says about its own injection. docs/injection.md shows this table. */
export const annotationSettings = {
  inject: choice('Whether the pod gets a sidecar.', ['enabled', 'disabled'], 'enabled'),
  mode: optional(
    choice(
      'How calls reach the sidecar; this and what follows without a default: as the settings say.',
      injectionModes,
    ),
  ),
  image: optional(image('Image of the sidecar.')),
  cpuRequest: optional(quantity('CPU that the sidecar asks for.')),
  cpuLimit: optional(quantity('CPU that it may take.')),
  memoryRequest: optional(quantity('Memory that it asks for.')),
  memoryLimit: optional(quantity('Memory that it may take.')),
  logLevel: optional(verbatim(choice('What the sidecar logs.', ['debug', 'info', 'warn', 'error']))),
  accessLog: optional(verbatim(choice('Decisions that it writes to its log.', ['off', 'denials', 'all']))),
  workers: optional(verbatim(integer('Threads that serve requests.', { min: 1, max: 64 }))),
  settle: optional(verbatim(duration('How long it serves on after the pod is told to go.'))),
  drain: optional(verbatim(duration('How long requests in flight may take to end.'))),
  openPortVouched: flag('A NetworkPolicy closes the ports of the application; do not look.', false),
  excludeInboundPorts: portList('Ports that others reach past the sidecar (transparent mode).'),
  excludeOutboundPorts: portList('Ports of destinations that the application reaches past it (transparent mode).'),
  excludeOutboundCidrs: addressList('Destinations that it reaches past it (transparent mode).'),
  rewriteProbes: choice('Whether the sidecar answers the probes.', ['enabled', 'disabled'], 'enabled'),
  openHooks: flag(
    "Pass lifecycle hooks by HTTP on to the application, for anybody who reaches the sidecar's port.",
    false,
  ),
  rewriteMetrics: choice(
    'Whether the sidecar answers what `prometheus.io/scrape` asks for.',
    ['enabled', 'disabled'],
    'enabled',
  ),
  allowDefaultServiceAccount: flag('Take the service account `default` for an identity.', false),
  allowHostNetwork: flag("Inject although every process of the node reaches the sidecar's loopback ports.", false),
} as const satisfies Settings;

export type PodOptions = Config<typeof annotationSettings>;

const prefix = 'cellmesh.io/';

/** `cpuRequest` as `cellmesh.io/cpu-request`. */
export function annotationOf(name: string): string {
  return prefix + name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

const settingOf = new Map<string, keyof typeof annotationSettings>(
  (Object.keys(annotationSettings) as (keyof typeof annotationSettings)[]).map((name) => [annotationOf(name), name]),
);

/** What annotations say, or every problem with them: one that is not known is a problem, since its author meant something. */
export function readAnnotations(annotations: Readonly<Record<string, string>>): PodOptions | readonly string[] {
  const problems: string[] = [];
  const options: Record<string, unknown> = Object.fromEntries(
    Object.entries(annotationSettings).map(([name, { fallback }]) => [name, fallback]),
  );
  for (const [annotation, text] of Object.entries(annotations)) {
    if (!annotation.startsWith(prefix)) continue;
    const name = settingOf.get(annotation);
    if (name === undefined) {
      problems.push(`${annotation}: there is no such annotation${suggestion(annotation, [...settingOf.keys()])}`);
      continue;
    }
    try {
      options[name] = annotationSettings[name].parse(text);
    } catch (error) {
      problems.push(`${annotation}: ${messageOf(error)}`);
    }
  }
  return problems.length > 0 ? problems : (options as PodOptions);
}
