import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Pod } from '#control-plane/injector/pod.ts';
import type { Webhooks } from '#control-plane/webhook/open-webhooks.ts';
import { systemClock } from '#runtime/clock.ts';
import { applyAs, applyDefinitions } from '../../kubernetes/policy-objects.ts';
import { wholeCell, wholePolicy } from '../../kubernetes/whole-documents.ts';
import { eventually } from '../../support/eventually.ts';
import { goldenDirectory, podFiles, podsDirectory, readPodFile } from '../../support/injected-pods.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { testAuthority } from '../../support/test-authority.ts';
import { applyWebhookConfigurations, followManifests, startWebhooks, untilCalled } from '../../support/webhooks.ts';

const programs = kubernetesPrograms();

/** Of a running pod: nobody creates one with them. */
const created = podFiles.filter((file) => file !== 'ephemeral-containers.yaml');

interface StoredPod {
  readonly metadata: { readonly annotations?: object; readonly labels?: object };
  readonly spec: { readonly initContainers?: readonly { readonly name: string }[] };
}

function asPod({ metadata, spec }: Pod): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { generateName: 'tried-', annotations: metadata?.annotations, labels: metadata?.labels },
    // What controllers fill in from the template.
    spec: { ...spec, restartPolicy: spec['restartPolicy'] ?? 'Always' },
  };
}

const small = (metadata: object = {}, spec: object = {}) => ({
  metadata: { generateName: 'api-', ...metadata },
  spec: { serviceAccountName: 'api', containers: [{ name: 'api', image: 'api:1' }], ...spec },
});

describe('a pod that the API server is given', { skip: 'skip' in programs && programs.skip }, () => {
  const stack = new AsyncDisposableStack();
  let server: KubernetesServer;
  let webhooks: Webhooks;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = stack.use(await startKubernetes(programs));
    await applyDefinitions(server);
    const namespaces = { joined: 'enabled', plain: '', others: 'disabled', cellmesh: 'enabled' };
    for (const [name, value] of Object.entries(namespaces)) {
      const labels = value === '' ? {} : { 'cellmesh.io/inject': value };
      await server.send('POST', '/api/v1/namespaces', { metadata: { name, labels } });
    }
    await server.send('PATCH', '/api/v1/namespaces/kube-system', {
      metadata: { labels: { 'cellmesh.io/inject': 'enabled' } },
    });
    const manifests = stack.use(followManifests(server));
    const { authority } = await testAuthority(systemClock);
    webhooks = stack.use(await startWebhooks(server, { authority, manifests }));
    assert.equal(await applyWebhookConfigurations(server, webhooks.port), '');
    await untilCalled(server, 'joined');
  });
  after(() => stack[Symbol.asyncDispose]());

  const create = (namespace: string, body: object) =>
    server.request('POST', `/api/v1/namespaces/${namespace}/pods?dryRun=All&fieldValidation=Strict`, { body });

  const isInjected = async (namespace: string, body: object) => {
    const { status, body: pod } = await create(namespace, body);
    assert.equal(status, 201, JSON.stringify(pod));
    return ((pod as StoredPod).spec.initContainers ?? []).some(({ name }) => name === 'cellmesh-sidecar');
  };

  for (const file of created) {
    test(`is what \`cellmesh inject\` makes of it: ${file}`, async () => {
      const given = await create('joined', asPod(readPodFile(podsDirectory, file).pod));
      const injected = await create('plain', asPod(readPodFile(goldenDirectory, file).pod));
      assert.deepEqual([given.status, injected.status], [201, 201], JSON.stringify(given.body));
      const [pod, expected] = [given.body as StoredPod, injected.body as StoredPod];
      assert.deepEqual(pod.spec, expected.spec);
      assert.deepEqual(pod.metadata.annotations, expected.metadata.annotations);
      assert.deepEqual(pod.metadata.labels, expected.metadata.labels);
    });
  }

  test('is refused with every reason, in words for whoever made it', async () => {
    const { status, body } = await create('joined', small({}, { hostNetwork: true, serviceAccountName: 'default' }));
    assert.equal(status, 403);
    assert.equal(
      (body as { message: string }).message,
      'admission webhook "inject.cellmesh.io" denied the request: pod joined/api-* cannot get a sidecar: ' +
        'it runs as the service account `default`, which every pod of the namespace may be: give it one of its own, or set cellmesh.io/allow-default-service-account to "true"; ' +
        'it has the node\'s network (hostNetwork), so every process of the node could call out under its identity: do without, or set cellmesh.io/allow-host-network to "true"',
    );
  });

  test('is left alone where its namespace is not opted in, or must come up without us', async () => {
    for (const namespace of ['plain', 'others', 'kube-system', 'cellmesh'])
      assert.equal(await isInjected(namespace, small()), false, namespace);
  });

  test('keeps out by label or annotation, and not by a word that is none', async () => {
    assert.equal(await isInjected('joined', small({ labels: { 'cellmesh.io/inject': 'disabled' } })), false);
    assert.equal(await isInjected('joined', small({ annotations: { 'cellmesh.io/inject': 'disabled' } })), false);
    assert.equal(await isInjected('joined', small({ labels: { 'cellmesh.io/inject': 'enabled' } })), true);
    const { status, body } = await create('joined', small({ labels: { 'cellmesh.io/inject': 'no' } }));
    assert.match(
      (body as { message: string }).message,
      /the label cellmesh\.io\/inject must be one of enabled, disabled/,
    );
    assert.equal(status, 403);
  });

  test('is made as well as tried, and what is injected is not injected again', async () => {
    const { status, body } = await server.request('POST', '/api/v1/namespaces/joined/pods', {
      body: small({ name: 'stays', generateName: undefined }),
    });
    assert.equal(status, 201, JSON.stringify(body));
    const { metadata, spec } = body as StoredPod;
    const again = await create('joined', { metadata: { name: 'again', annotations: metadata.annotations }, spec });
    assert.deepEqual((again.body as StoredPod).spec, spec);
  });

  test('is told of with a warning when no policy is about its service account', async () => {
    const about = (account: string) => create('joined', small({}, { serviceAccountName: account }));
    assert.match(
      (await about('one')).warnings,
      /no ServicePolicy is about the service account joined\/one: until there is one, calls to this pod and by it are refused/,
    );
    assert.equal((await applyAs(server, 'test', wholeCell)).status, 201);
    const policy = wholePolicy
      .replace('namespace: mail', 'namespace: joined')
      .replace(/ {2}rollout.*\n/, '')
      .replace(/ {2}calls:\n[\s\S]*$/, '');
    const { status, body } = await applyAs(server, 'test', policy);
    assert.equal(status, 201, JSON.stringify(body));
    await eventually(async () => assert.equal((await about('one')).warnings, ''));
    assert.notEqual((await about('two')).warnings, '');
  });

  test('passes through when nobody answers, but where it would have to be injected', async () => {
    await webhooks[Symbol.asyncDispose]();
    const { status, body } = await create('joined', small());
    assert.match((body as { message: string }).message, /failed calling webhook "inject\.cellmesh\.io"/);
    assert.equal(status, 500);
    assert.equal(await isInjected('plain', small()), false);
    assert.equal(await isInjected('joined', small({ labels: { 'cellmesh.io/inject': 'disabled' } })), false);
    const mirror = small({ annotations: { 'kubernetes.io/config.mirror': 'x' } }, { nodeName: 'node-1' });
    assert.equal(await isInjected('joined', mirror), false);
  });
});
