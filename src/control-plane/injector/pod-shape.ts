/** What a value of a manifest must be where it is there at all: `null` is absence to Kubernetes. */
type Shape =
  | 'text'
  | 'number'
  | 'boolean'
  | 'port'
  | { readonly list: Shape }
  | { readonly map: Fields }
  | { readonly each: Shape };
type Fields = Readonly<Record<string, Shape>>;

const handler: Fields = {
  httpGet: {
    map: {
      path: 'text',
      port: 'port',
      host: 'text',
      scheme: 'text',
      httpHeaders: { list: { map: { name: 'text', value: 'text' } } },
    },
  },
  tcpSocket: { map: { port: 'port', host: 'text' } },
  grpc: { map: { port: 'number', service: 'text' } },
};
const probe: Shape = { map: { ...handler, timeoutSeconds: 'number' } };
const securityContext: Shape = { map: { runAsUser: 'number' } };
const container: Shape = {
  map: {
    name: 'text',
    restartPolicy: 'text',
    ports: { list: { map: { name: 'text', containerPort: 'number' } } },
    securityContext,
    livenessProbe: probe,
    readinessProbe: probe,
    startupProbe: probe,
    lifecycle: { map: { postStart: { map: handler }, preStop: { map: handler } } },
  },
};

/** The parts of a pod that the injector reads. */
const pod: Shape = {
  map: {
    metadata: { map: { annotations: { each: 'text' }, labels: { each: 'text' } } },
    spec: {
      map: {
        containers: { list: container },
        initContainers: { list: container },
        volumes: { list: { map: { name: 'text' } } },
        serviceAccountName: 'text',
        serviceAccount: 'text',
        hostNetwork: 'boolean',
        terminationGracePeriodSeconds: 'number',
        securityContext,
        os: { map: { name: 'text' } },
        nodeSelector: { each: 'text' },
      },
    },
  },
};

/** Says of the first part of `value` that no pod has like this where it is and what it must be; undefined where there is none. */
export function misshapen(value: unknown, shape: Shape = pod, path = ''): string | undefined {
  if (value === null || value === undefined) return undefined;
  if (typeof shape === 'string') return isScalar(value, shape) ? undefined : `\`${path}\` must be ${words[shape]}`;
  if ('list' in shape) {
    if (!Array.isArray(value)) return `\`${path}\` must be a list`;
    return first(value, (item, index) =>
      item === null ? `\`${path}[${index}]\` is nothing` : misshapen(item, shape.list, `${path}[${index}]`),
    );
  }
  if (typeof value !== 'object' || Array.isArray(value))
    return path === '' ? 'it is no map' : `\`${path}\` must be a map`;
  const shapeOf = (key: string) => ('each' in shape ? shape.each : Object.hasOwn(shape.map, key) && shape.map[key]);
  return first(Object.entries(value), ([key, inner]) => {
    const expected = shapeOf(key);
    return expected ? misshapen(inner, expected, path === '' ? key : `${path}.${key}`) : undefined;
  });
}

const words = {
  text: 'text: put numbers and true or false in quotes',
  number: 'a number',
  boolean: 'true or false',
  port: "a port's number or name",
} as const;

function isScalar(value: unknown, shape: keyof typeof words): boolean {
  switch (shape) {
    case 'text':
      return typeof value === 'string';
    case 'number':
      return typeof value === 'number';
    case 'boolean':
      return typeof value === 'boolean';
    case 'port':
      return typeof value === 'string' || typeof value === 'number';
  }
}

function first<T>(items: readonly T[], find: (item: T, index: number) => string | undefined): string | undefined {
  for (const [index, item] of items.entries()) {
    const found = find(item, index);
    if (found !== undefined) return found;
  }
  return undefined;
}
