import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseRecordedProbes } from '#api/recorded-probes.ts';
import { injectPod } from '#control-plane/injector/inject-pod.ts';
import { testInjectorSettings } from '../../support/injected-pods.ts';

const settings = testInjectorSettings();

function pod(spec: object = {}, annotations: Record<string, unknown> = {}, container: object = {}) {
  return {
    metadata: { annotations },
    spec: { serviceAccountName: 'api', containers: [{ name: 'api', image: 'api:1', ...container }], ...spec },
  };
}

function reasons(value: unknown): readonly string[] {
  const injection = injectPod(value, settings);
  assert.ok(injection.outcome === 'refused', injection.outcome);
  return injection.reasons;
}

function injected(value: unknown) {
  const injection = injectPod(value, settings);
  assert.ok(injection.outcome === 'injected', JSON.stringify(injection));
  return injection.pod;
}

const ourName = (name: string) => ({ initContainers: [{ name, image: 'other:1' }] });
const transparent = { 'cellmesh.io/mode': 'transparent' };

describe('a pod is refused, with the reason', () => {
  const cases: readonly (readonly [name: string, value: unknown, reason: RegExp])[] = [
    [
      'on the default service account',
      pod({ serviceAccountName: undefined }),
      /service account `default`.*allow-default-service-account/,
    ],
    ['on the default service account by name', pod({ serviceAccountName: 'default' }), /service account `default`/],
    ['on Windows', pod({ os: { name: 'windows' } }), /Windows.*cellmesh\.io\/inject/],
    ['on Windows nodes', pod({ nodeSelector: { 'kubernetes.io/os': 'windows' } }), /Windows/],
    ["on the node's network", pod({ hostNetwork: true }), /hostNetwork.*allow-host-network/],
    [
      "on the node's network in transparent mode, whatever it allows",
      pod({ hostNetwork: true }, { ...transparent, 'cellmesh.io/allow-host-network': 'true' }),
      /cannot be redirected/,
    ],
    ['in another mesh that redirects', pod(ourName('istio-init'), transparent), /istio-init redirects/],
    ["with a container of the mesh's name", pod(ourName('cellmesh-init')), /container named cellmesh-init/],
    ["with a volume of the mesh's name", pod({ volumes: [{ name: 'cellmesh-state' }] }), /volume named cellmesh-state/],
    ["at a port of the sidecar's", pod({}, {}, { ports: [{ containerPort: 14006 }] }), /api listens at 14006/],
    ["as the sidecar's user", pod({ securityContext: { runAsUser: 14000 } }), /the pod runs as user 14000/],
    [
      "with a container as the sidecar's user",
      pod({}, {}, { securityContext: { runAsUser: 14000 } }),
      /api runs as user 14000/,
    ],
    [
      'that excludes ports in explicit mode',
      pod({}, { 'cellmesh.io/exclude-outbound-ports': '1' }),
      /nothing is redirected/,
    ],
    [
      'with an annotation that is not known',
      pod({}, { 'cellmesh.io/injct': 'enabled' }),
      /cellmesh\.io\/injct: there is no such annotation/,
    ],
    [
      'with a value that is not known',
      pod({}, { 'cellmesh.io/inject': 'true' }),
      /cellmesh\.io\/inject: must be one of enabled, disabled/,
    ],
    [
      'with a port that is none',
      pod({}, { ...transparent, 'cellmesh.io/exclude-inbound-ports': '80;90' }),
      /must be ports/,
    ],
    [
      'with a prefix that is none',
      pod({}, { ...transparent, 'cellmesh.io/exclude-outbound-cidrs': '10.0.0.0/33' }),
      /must be addresses/,
    ],
    ['with an amount that is none', pod({}, { 'cellmesh.io/memory-limit': 'much' }), /must be an amount/],
    ['with a duration that is none', pod({}, { 'cellmesh.io/drain': '10' }), /whole number with a unit/],
    [
      'whose annotation is a number',
      pod({}, { 'cellmesh.io/workers': 2 }),
      /annotations\.cellmesh\.io\/workers` must be text: put numbers/,
    ],
    [
      'whose probe names a port that is not there',
      pod({}, {}, { readinessProbe: { httpGet: { port: 'http' } } }),
      /readiness probe or hook of api asks port "http"/,
    ],
    ['that is scraped nowhere', pod({}, { 'prometheus.io/scrape': 'true' }), /prometheus\.io\/port must be/],
    [
      'whose hook is called by HTTP, as anybody could',
      pod({}, {}, { lifecycle: { preStop: { httpGet: { port: 80 } } } }),
      /pre-stop hook of api.*cellmesh\.io\/open-hooks/,
    ],
    [
      'whose probe asks for what is no path',
      pod({}, {}, { livenessProbe: { httpGet: { port: 80, path: '/a b' } } }),
      /need a path to ask for at \/probe\/api\/liveness/,
    ],
    ['that is none', { spec: { containers: 'api' } }, /`spec\.containers` must be a list/],
    ['that has no containers', { spec: {} }, /no `containers`/],
    ['that is nothing', null, /no `spec`/],
    [
      'with a probe that is none',
      pod({}, {}, { livenessProbe: 'http' }),
      /`spec\.containers\[0\]\.livenessProbe` must be a map/,
    ],
  ];
  for (const [name, value, reason] of cases) {
    test(name, () => assert.match(reasons(value).join('\n'), reason));
  }

  test('all of them at once', () => {
    const found = reasons(pod({ hostNetwork: true, serviceAccountName: '', os: { name: 'windows' } }));
    assert.equal(found.length, 3);
  });
});

describe('a pod stays as it is', () => {
  test('when it says so', () => {
    const value = pod({ hostNetwork: true }, { 'cellmesh.io/inject': 'disabled' });
    assert.equal(injectPod(value, settings).outcome, 'unchanged');
  });

  test('when its label says so, whatever its annotations are, or it is a picture of a static pod', () => {
    const withLabel = (value: string) => {
      const { metadata, ...rest } = pod({ hostNetwork: true }, { 'cellmesh.io/odd': '' });
      return { ...rest, metadata: { ...metadata, labels: { 'cellmesh.io/inject': value } } };
    };
    assert.equal(injectPod(withLabel('disabled'), settings).outcome, 'unchanged');
    assert.equal(injectPod(withLabel('enabled'), settings).outcome, 'refused');
    assert.equal(
      injectPod(pod({ hostNetwork: true }, { 'kubernetes.io/config.mirror': 'x' }), settings).outcome,
      'unchanged',
    );
  });

  test('when it has a sidecar, by its name, whatever else is the matter', () => {
    const value = pod({ ...ourName('cellmesh-sidecar'), hostNetwork: true });
    assert.equal(injectPod(value, settings).outcome, 'unchanged');
  });

  test('but for what is added: nothing that was there is lost, and what was given is not changed', () => {
    const given = pod({ dnsPolicy: 'Default', initContainers: [{ name: 'first', image: 'first:1' }] });
    const copy = structuredClone(given);
    const { spec } = injected(given);
    assert.deepEqual(given, copy);
    assert.equal(spec['dnsPolicy'], 'Default');
    assert.deepEqual(
      spec.initContainers?.map(({ name }) => name),
      ['cellmesh-sidecar', 'first'],
    );
    assert.deepEqual(spec.containers, given.spec.containers);
  });
});

describe('what the sidecar is told to ask', () => {
  const probesOf = (value: unknown) => {
    const [sidecar] = injected(value).spec.initContainers!;
    const variables = sidecar!['env'] as { name: string; value: string }[];
    return variables.find(({ name }) => name === 'CELLMESH_PROBES')?.value;
  };

  test('can be read back, and has nothing that Kubernetes expands', () => {
    const text = probesOf(
      pod({}, {}, { livenessProbe: { httpGet: { port: 80, path: '/$(HOME)' }, timeoutSeconds: 7 } }),
    )!;
    assert.doesNotMatch(text, /\$/);
    assert.deepEqual(parseRecordedProbes(text).get('/probe/api/liveness'), {
      kind: 'http',
      scheme: 'http',
      port: 80,
      path: '/$(HOME)',
      headers: [],
      timeoutMs: 7000,
      isRelayed: false,
    });
  });

  test('is not said where there is nothing to ask', () => {
    assert.equal(probesOf(pod({}, {}, { livenessProbe: { exec: { command: ['true'] } } })), undefined);
  });
});

test('an IPv6 address of the control plane is written as one', () => {
  const injection = injectPod(pod(), testInjectorSettings({ controlPlane: '[fd00::1]:14010' }));
  assert.ok(injection.outcome === 'injected');
  assert.match(JSON.stringify(injection.pod), /"\[fd00::1\]:14010"/);
});
