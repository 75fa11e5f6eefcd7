import { type Injection, injectPod } from '#control-plane/injector/inject-pod.ts';
import type { InjectorSettings } from '#control-plane/injector/settings.ts';

/** What became of one object that has pods. */
export interface Injected {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly outcome: Injection['outcome'];
  readonly mode?: string;
  readonly reasons?: readonly string[];
}

interface Outcome {
  readonly value: unknown;
  readonly results: readonly Injected[];
}

/** Where the template of its pods stands, by apiVersion and kind. */
const templates: Readonly<Record<string, readonly string[]>> = {
  'v1 Pod': [],
  'apps/v1 Deployment': ['spec', 'template'],
  'apps/v1 StatefulSet': ['spec', 'template'],
  'apps/v1 DaemonSet': ['spec', 'template'],
  'apps/v1 ReplicaSet': ['spec', 'template'],
  'batch/v1 Job': ['spec', 'template'],
  'batch/v1 CronJob': ['spec', 'jobTemplate', 'spec', 'template'],
};
const systemNamespaces: readonly unknown[] = ['kube-system', 'kube-public', 'kube-node-lease'];

/** One object, or the objects of a `List`, with sidecars in their pods; what has no pods is as it was. */
export function injectObjects(value: unknown, settings: InjectorSettings): Outcome {
  if (!isMap(value)) return { value, results: [] };
  const { apiVersion, kind, items } = value;
  if (apiVersion === 'v1' && kind === 'List' && Array.isArray(items)) {
    const outcomes = items.map((item) => injectObjects(item, settings));
    return {
      value: { ...value, items: outcomes.map(({ value }) => value) },
      results: outcomes.flatMap(({ results }) => results),
    };
  }
  const path = templates[`${apiVersion} ${kind}`];
  return path === undefined ? { value, results: [] } : injectWorkload(value, path, settings);
}

function injectWorkload(value: Record<string, unknown>, path: readonly string[], settings: InjectorSettings): Outcome {
  const metadata = isMap(value['metadata']) ? value['metadata'] : {};
  const { name, generateName, namespace, annotations } = metadata;
  const about = {
    kind: String(value['kind']),
    ...(typeof namespace === 'string' && { namespace }),
    name: String(name ?? generateName ?? '(without a name)'),
  };
  const result = (rest: Omit<Injected, keyof typeof about>) => ({ ...about, ...rest });
  if (systemNamespaces.includes(namespace)) {
    return { value, results: [result({ outcome: 'unchanged', reasons: ["it is the cluster's own"] })] };
  }
  const misplaced = path.length === 0 || !isMap(annotations) ? [] : Object.keys(annotations).filter(isOurs);
  if (misplaced.length > 0) {
    const reasons = misplaced.map(
      (one) => `${one}: this belongs to the annotations of \`${path.join('.')}\`, of its pods`,
    );
    return { value, results: [result({ outcome: 'refused', reasons })] };
  }
  const injection = injectPod(at(value, path), settings);
  switch (injection.outcome) {
    case 'injected':
      return {
        value: withAt(value, path, injection.pod),
        results: [result({ outcome: 'injected', mode: injection.mode })],
      };
    case 'unchanged':
      return { value, results: [result({ outcome: 'unchanged', reasons: [injection.reason] })] };
    case 'refused':
      return { value, results: [result(injection)] };
  }
}

function isOurs(annotation: string): boolean {
  return annotation.startsWith('cellmesh.io/');
}

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((inner, name) => (isMap(inner) ? inner[name] : undefined), value);
}

/** `path` leads to a pod, so all on it are maps. */
function withAt(value: unknown, [name, ...rest]: readonly string[], inner: unknown): unknown {
  if (name === undefined) return inner;
  const map = value as Record<string, unknown>;
  return { ...map, [name]: withAt(map[name], rest, inner) };
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
