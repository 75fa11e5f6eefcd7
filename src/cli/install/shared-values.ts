import { parseTrustDomain, type TrustDomain, trustDomainBytesMax } from '#certs/spiffe-id.ts';
import { flag, matching, oneOf, parsed, type Shape, shape } from '#policy/shapes.ts';
import type { Settings } from '#runtime/config.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Plain } from './tree.ts';
import { group, plainList, plainMap, value } from './values.ts';

/** The hosts of addresses to listen at, in containers. */
export const anyHost = '0.0.0.0';
/** Kubernetes' own charts write it so. */
const imagePattern = /^[A-Za-z0-9][\w.:@/-]*$/;
/** A name, or nothing. */
const maybeName = /^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$/;

export const trustDomain: Shape<TrustDomain> = parsed(parseTrustDomain, 'a trust domain', {
  pattern: '^[a-z0-9._-]+$',
  maxLength: trustDomainBytesMax,
});
export const issuer = matching(/^https?:\/\/[^\s"\\]+$/, 'issuer', 2048);
export const region = matching(/^[A-Za-z0-9._-]+$/, 'region');
export const logLevel = oneOf('debug', 'info', 'warn', 'error');
export const quantity = matching(/^\d{1,12}(\.\d{1,9})?(m|[kMGT]|[KMGT]i)?$/, 'amount (100m, 0.5, 128Mi)');
/** Of any length: text that may be empty. */
export const anyText: Shape<string> = shape({ type: 'string' }, (node, problems) =>
  node.kind === 'scalar' && typeof node.value === 'string' ? node.value : problems.add(node.at, 'text is expected'),
);

export function nameOrNothing(what: string): Shape<string> {
  return matchingOrNothing(maybeName, what);
}

/** `matching` for a pattern that takes empty text. */
export function matchingOrNothing(pattern: RegExp, what: string): Shape<string> {
  return shape({ type: 'string', pattern: pattern.source, maxLength: 256 }, (node, problems) => {
    const isText = node.kind === 'scalar' && typeof node.value === 'string' && node.value.length <= 256;
    if (isText && pattern.test(node.value as string)) return node.value as string;
    return problems.add(node.at, `${what} is expected, or '' for none`);
  });
}

/** Settings of a process by their names, but for those that an installation gives itself. */
export function moreSettings(settings: Settings, ...own: readonly string[]): Shape<Readonly<Record<string, Plain>>> {
  const names = Object.keys(settings).filter((name) => !own.includes(name));
  const properties = Object.fromEntries(
    names.map((name) => [name, { type: ['string', 'number', 'boolean'] } as const]),
  );
  return shape({ type: 'object', properties, additionalProperties: false }, (node, problems) => {
    if (node.kind !== 'map') return problems.add(node.at, 'a map from setting names to values is expected');
    const values: Record<string, Plain> = {};
    for (const [name, { keyAt, value }] of node.entries) {
      if (!names.includes(name))
        problems.add(keyAt, `\`${name}\`: there is no such setting, or the chart gives it itself`);
      else if (value.kind !== 'scalar' || value.value === null) problems.add(value.at, 'a single value is expected');
      else {
        values[name] = value.value;
        const problem = problemOf(() => settings[name]!.parse(String(value.value)));
        if (problem !== undefined) problems.add(value.at, `${name}: ${problem}`);
      }
    }
    return values;
  });
}

export const image = group('The image of all processes.', {
  name: value(
    matching(imagePattern, 'image'),
    'cellmesh:0.1.0',
    'Name with a tag or, better, a digest (`name@sha256:...`).',
  ),
  pullPolicy: value(oneOf('IfNotPresent', 'Always', 'Never'), 'IfNotPresent', 'When the image is pulled.'),
  pullSecrets: value(plainList, [], 'Secrets to pull it with: `[{ name: registry }]`.'),
});

export const monitoring = group('Metrics for Prometheus.', {
  podMonitor: value(
    flag,
    false,
    'Whether there is a PodMonitor for each process; the cluster must know that kind (monitoring.coreos.com/v1).',
  ),
});

/** Where the pods of one process run, and with what. */
export function scheduling(resources: Readonly<Record<string, Plain>>) {
  return {
    resources: value(plainMap, resources, 'What a pod asks for, and may take. A limit on CPU would only add delays.'),
    nodeSelector: value(plainMap, {}, 'Labels of the nodes that pods may run on.'),
    tolerations: value(plainList, [], 'Taints of nodes that pods tolerate.'),
    priorityClassName: value(
      nameOrNothing('the name of a PriorityClass'),
      '',
      "PriorityClass of the pods, such as system-cluster-critical; '': the cluster's default.",
    ),
  };
}

function problemOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}
