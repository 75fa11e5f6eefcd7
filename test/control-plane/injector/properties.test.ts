import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseRecordedProbes } from '#api/recorded-probes.ts';
import { injectPod } from '#control-plane/injector/inject-pod.ts';
import type { Container, Pod } from '#control-plane/injector/pod.ts';
import { testInjectorSettings } from '../../support/injected-pods.ts';
import { restrictedViolations } from '../../support/restricted-profile.ts';

const settings = testInjectorSettings();
const runs = { numRuns: 500, seed: 1 };

const port = fc.oneof(
  { weight: 20, arbitrary: fc.integer({ min: 1, max: 65_535 }) },
  { weight: 20, arbitrary: fc.constantFrom('http', 'grpc') },
  { weight: 1, arbitrary: fc.constant('missing') },
);
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(model, { requiredKeys: [] });
const handler = fc.oneof(
  fc.record({ httpGet: fc.record({ port, path: fc.webPath(), scheme: fc.constantFrom('HTTP', 'HTTPS') }) }),
  fc.record({ tcpSocket: fc.record({ port }) }),
  fc.record({ grpc: fc.record({ port: fc.integer({ min: 1, max: 65_535 }), service: fc.string() }) }),
  fc.constant({ exec: { command: ['true'] } }),
);
const securityContext = record({
  runAsUser: fc.constantFrom(0, 1000, 2000, 3000, 4000, 14_000),
  runAsNonRoot: fc.boolean(),
  allowPrivilegeEscalation: fc.boolean(),
  privileged: fc.boolean(),
  capabilities: fc.constantFrom({ drop: ['ALL'] }, { add: ['NET_RAW'] }),
  seccompProfile: fc.constantFrom({ type: 'RuntimeDefault' }, { type: 'Unconfined' }),
});
const container = (name: string) =>
  fc
    .record(
      {
        name: fc.constant(name),
        image: fc.constant('app:1'),
        ports: fc.constant([
          { name: 'http', containerPort: 8080 },
          { name: 'grpc', containerPort: 9090 },
        ]),
        livenessProbe: handler,
        readinessProbe: handler,
        startupProbe: handler,
        lifecycle: record({ preStop: handler, postStart: handler }),
        securityContext,
      },
      { requiredKeys: ['name', 'image', 'ports'] },
    )
    .map((value) => value as Container);
const annotations = record({
  'cellmesh.io/mode': fc.constantFrom('explicit', 'transparent'),
  'cellmesh.io/open-hooks': fc.constant('true'),
  'cellmesh.io/rewrite-probes': fc.constantFrom('enabled', 'disabled'),
  'prometheus.io/scrape': fc.constantFrom('true', 'false'),
  'prometheus.io/port': fc.constantFrom('9100', '9200', 'metrics'),
});
const pods = fc.record({
  metadata: fc.record({ annotations }),
  spec: fc.record(
    {
      serviceAccountName: fc.constant('app'),
      containers: fc.tuple(container('app'), container('other')),
      initContainers: fc.tuple(container('first')),
      hostNetwork: fc.boolean(),
      volumes: fc.constantFrom([{ name: 'data', emptyDir: {} }], [{ name: 'node', hostPath: { path: '/' } }]),
      securityContext,
    },
    { requiredKeys: ['serviceAccountName', 'containers'] },
  ),
}) as unknown as fc.Arbitrary<Pod>;

/** Runs `check` over pods that are injected, and sees to it that there are enough of them. */
function forInjected(check: (given: Pod, injected: Pod, mode: string) => void): void {
  let injected = 0;
  fc.assert(
    fc.property(pods, (given) => {
      const injection = injectPod(given, settings);
      if (injection.outcome !== 'injected') return;
      injected++;
      check(given, injection.pod, injection.mode);
    }),
    runs,
  );
  assert.ok(injected > runs.numRuns / 10, `${injected} of ${runs.numRuns}`);
}

describe('for any pod', () => {
  test('patching twice is patching once', () => {
    forInjected((_, injected) => assert.equal(injectPod(injected, settings).outcome, 'unchanged'));
  });

  test('what was given is not touched, and every container of it is still there, in its order', () => {
    forInjected((given, injected) => {
      const copy = JSON.stringify(given);
      injectPod(given, settings);
      assert.equal(JSON.stringify(given), copy);
      const names = (list: readonly { name: string }[] = []) => list.map(({ name }) => name);
      assert.deepEqual(names(injected.spec.containers), names(given.spec.containers));
      const ours = names(injected.spec.initContainers).filter((name) => name.startsWith('cellmesh-'));
      assert.deepEqual(names(injected.spec.initContainers), [...ours, ...names(given.spec.initContainers)]);
    });
  });

  test('explicit mode breaks no rule of `restricted` that was not broken before', () => {
    forInjected((given, injected, mode) => {
      if (mode === 'explicit') assert.deepEqual(restrictedViolations(injected), restrictedViolations(given));
    });
  });

  test('every probe that was rewritten is recorded, by the path that it now asks', () => {
    forInjected((_, { spec }) => {
      const sidecar = spec.initContainers!.find(({ name }) => name === 'cellmesh-sidecar')!;
      const variables = sidecar['env'] as { name: string; value?: string }[];
      const recorded = variables.find(({ name }) => name === 'CELLMESH_PROBES')?.value ?? '{}';
      const text = JSON.stringify([spec.containers, spec.initContainers]);
      const asked = [...text.matchAll(/"path":"(\/probe\/[^"]+)","port":14020/g)].map(([, path]) => path!);
      const known = [...parseRecordedProbes(recorded).keys()].filter((path) => path.startsWith('/probe/'));
      assert.deepEqual(new Set(asked), new Set(known));
    });
  });
});

test('anything at all is taken or refused, never a defect', () => {
  fc.assert(
    fc.property(fc.oneof(fc.anything(), fc.record({ spec: fc.anything(), metadata: fc.anything() })), (value) => {
      assert.ok(['injected', 'unchanged', 'refused'].includes(injectPod(value, settings).outcome));
    }),
    runs,
  );
});

test('a pod of which any part is something else is taken or refused, never a defect', () => {
  const parts = [
    'httpGet',
    'port',
    'ports',
    'path',
    'lifecycle',
    'livenessProbe',
    'annotations',
    'securityContext',
    'name',
  ];
  fc.assert(
    fc.property(pods, fc.constantFrom(...parts), fc.jsonValue(), (pod, part, other) => {
      const broken = JSON.parse(JSON.stringify(pod), (key, value) => (key === part ? other : value));
      assert.ok(['injected', 'unchanged', 'refused'].includes(injectPod(broken, settings).outcome));
    }),
    runs,
  );
});
