import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { serializeTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import type { Finding, Verdict } from '#cli/check/check-definition.ts';
import { checks } from '#cli/check/checks.ts';
import { collectFacts } from '#cli/check/collect/collect.ts';
import { judge } from '#cli/check/judge.ts';
import { systemClock } from '#runtime/clock.ts';
import {
  allowed,
  cell,
  createBundle,
  createInstallation,
  createWebhooks,
  installedRights,
  policy,
  renewLeases,
  setAccepted,
  startTestInjector,
  type TestInjector,
} from '../cli/check/cluster-objects.ts';
import { definitions, definitionsPath } from '../kubernetes/policy-objects.ts';
import { runCommand } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { type KubernetesServer, startKubernetes } from '../support/kubernetes.ts';
import { bindClusterRole, createNamespace, createServiceAccount, createToken } from '../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../support/kubernetes-programs.ts';
import { serviceNames } from '../support/messaging-application.ts';
import { namelessTrustBundle } from '../support/nameless-trust-bundle.ts';
import { startCell } from '../support/start-cell.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { testAuthority } from '../support/test-authority.ts';

interface Told {
  readonly code: number | null;
  readonly told: readonly { readonly id: string; readonly verdict: Verdict; readonly findings: readonly Finding[] }[];
}

const programs = kubernetesPrograms();
const skip = 'skip' in programs ? programs.skip : false;

const policies = '/apis/cellmesh.io/v1alpha1/namespaces/shop/servicepolicies';
const cells = '/apis/cellmesh.io/v1alpha1/cells';
const shopPods = '/api/v1/namespaces/shop/pods';
const ownMaps = '/api/v1/namespaces/cellmesh/configmaps';
const deployment = '/apis/apps/v1/namespaces/cellmesh/deployments/cellmesh-control-plane';
const injectorPath = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/cellmesh-injector';

describe('a cell in a cluster', { skip }, () => {
  const { kubectl } = programs as Exclude<typeof programs, { skip: string }>;
  let server: KubernetesServer;
  let injector: TestInjector;
  let bundle: TrustBundle;
  const owned = new AsyncDisposableStack();

  const runWith = (kubectl: string, ...args: readonly string[]) => runAs(server.kubeconfig, kubectl, ...args);
  const run = (kubeconfig: string, ...args: readonly string[]) => runAs(kubeconfig, '/nowhere/kubectl', ...args);

  async function runAs(kubeconfig: string, kubectl: string, ...args: readonly string[]): Promise<Told> {
    const command = ['check', '--json', '--kubeconfig', kubeconfig, ...args];
    const { code, stdout, stderr } = await runCommand(command, '', { KUBECTL: kubectl });
    assert.equal(stderr, '');
    return { code, told: (JSON.parse(stdout) as { checks: Told['told'] }).checks };
  }

  /** What one check says as the administrator, with the verdict in front; in this process, which is ten times as fast. */
  async function say(id: string): Promise<string> {
    const options = { kubeconfig: server.kubeconfig, namespace: 'cellmesh', state: 'none', region: 'local' };
    const facts = await collectFacts(options, { failBeforeMs: 0, timeoutMs: 20_000 }, systemClock);
    const results = judge(
      checks.filter((check) => check.id === id),
      facts,
    );
    return results.flatMap(({ verdict, findings }) => [verdict, ...findings.map(({ what }) => what)]).join('\n');
  }

  const edge = {
    expose: [{ hosts: ['shop.example'], paths: ['/orders'], auth: 'required' }],
    allow: [{ ...allowed, from: ['router'] }],
    calls: [{ to: 'shop/store' }],
  };

  const createPod = (name: string, spec: object = {}, namespace = 'shop') =>
    server.send('POST', `/api/v1/namespaces/${namespace}/pods`, {
      metadata: { name, labels: { app: name } },
      spec: { serviceAccountName: name, containers: [{ name: 'main', image: 'none' }], ...spec },
    });

  before(async () => {
    const directory = owned.use(await temporaryDirectory()).path;
    bundle = (await testAuthority(systemClock, 'cell-1.example')).authority.bundle.current;
    server = owned.use(await startKubernetes(programs as Exclude<typeof programs, { skip: string }>));
    injector = owned.use(await startTestInjector(join(directory, 'injector'), bundle));
    for (const definition of definitions) await server.send('POST', definitionsPath, definition);
    const labels = { 'cellmesh.io/inject': 'enabled' };
    await createNamespace(server, 'cellmesh');
    await createServiceAccount(server, 'cellmesh', 'cellmesh-operator');
    await server.send('POST', '/api/v1/namespaces', { metadata: { name: 'shop', labels } });
    await createInstallation(server, bundle);
    await createWebhooks(server, injector);
    await eventually(() => server.send('POST', cells, cell));
    await server.send('POST', policies, policy('web', edge));
    await server.send('POST', policies, policy('store', { allow: [{ ...allowed, from: ['shop/web'] }] }));
    for (const path of [`${cells}/cell-1`, `${policies}/web`, `${policies}/store`])
      await setAccepted(server, path, 'True', 'in force');
    // A webhook is called as soon as the API server has seen it.
    await eventually(async () => assert.match(await say('webhook-answers'), /^ok\n/), 20_000);
    for (const name of ['web', 'store']) await createPod(name);
    await server.send('POST', '/api/v1/namespaces/shop/services', {
      metadata: { name: 'web' },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 14_006 }] },
    });
    await server.send('POST', '/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies', {
      metadata: { name: 'mesh' },
      spec: { podSelector: {}, policyTypes: ['Ingress'] },
    });
    await renewLeases(server);
  });

  after(() => owned.disposeAsync());

  test('is well but for the control plane, when there is no kubectl to ask it', async () => {
    await renewLeases(server);
    const { code, told } = await run(server.kubeconfig, '--strict');
    const wrong = told.filter(({ verdict }) => verdict !== 'ok');
    assert.deepEqual(
      wrong.filter(({ findings }) => !findings.some(({ what }) => /\/nowhere\/kubectl is not there/.test(what))),
      [],
    );
    assert.deepEqual(new Set(wrong.map(({ verdict }) => verdict)), new Set(['unknown']));
    assert.equal(code, 1);
    const looked = ['--skip', 'control plane,versions,policy-in-force,rollouts,rotation', '--strict'];
    assert.equal((await run(server.kubeconfig, ...looked)).code, 0);
  });

  test('asks the control plane by a token of the cluster, and says which right is missing', async () => {
    const account = { namespace: 'cellmesh', name: 'cellmesh-operator' };
    const token = await createToken(server, { namespace: 'cellmesh', name: 'cellmesh-control-plane' });
    await using running = await startCell({
      withoutSidecars: serviceNames,
      controlPlaneFlags: { kubernetes: await server.kubeconfigAs('control-plane', token) },
    });
    await bindClusterRole(server, account, [{ apiGroups: ['cellmesh.io'], resources: ['status'], verbs: ['get'] }]);
    const map = `${ownMaps}/cellmesh-trust-bundle`;
    const text = await readFile(join(running.manifestsDir, '../control-plane/trust-bundle.json'), 'utf8');
    await server.send('PATCH', map, { data: { 'trust-bundle.json': text } });
    const address = `127.0.0.1:${running.controlPlane.address.port}`;
    const { told } = await runWith(kubectl, '--only', 'control plane,rollouts', '--address', address);
    await server.send('PATCH', map, { data: { 'trust-bundle.json': serializeTrustBundle(bundle) } });
    assert.deepEqual(
      told.map(({ id, verdict }) => [id, verdict]),
      [
        ['control-plane', 'ok'],
        ['clock', 'ok'],
        ['token-keys', 'ok'],
        ['decision-store', 'ok'],
        ['sidecars-behind', 'ok'],
        ['rollouts', 'unknown'],
      ],
      JSON.stringify(told),
    );
    assert.match(told.at(-1)!.findings[0]!.what, /may not get policies\.cellmesh\.io/);
  });

  test('is asked with the name of its trust domain where its roots do not say it', async () => {
    const map = `${ownMaps}/cellmesh-trust-bundle`;
    await server.send('PATCH', map, { data: { 'trust-bundle.json': namelessTrustBundle() } });
    const ask = ['--only', 'control-plane', '--address', '127.0.0.1:1'];
    const [unnamed, named] = [
      await runWith(kubectl, ...ask),
      await runWith(kubectl, ...ask, '--trust-domain', 'cell-1.example'),
    ].map(({ told }) => told[0]!);
    await server.send('PATCH', map, { data: { 'trust-bundle.json': serializeTrustBundle(bundle) } });
    assert.equal(unnamed!.verdict, 'unknown');
    assert.match(unnamed!.findings[0]!.what, /whose roots name their trust domain; .*: --trust-domain, /);
    assert.equal(named!.verdict, 'fail');
    assert.match(named!.findings[0]!.what, /127\.0\.0\.1:1/);
  });

  test('fails within --fail-before of the end of its root and of the authority of its webhooks', async () => {
    const { code, told } = await run(server.kubeconfig, '--only', 'certificates', '--fail-before', '10000d');
    assert.equal(code, 1);
    assert.deepEqual(
      told.map(({ id, verdict }) => [id, verdict]),
      [
        ['roots-end', 'fail'],
        ['webhook-certificate-ends', 'fail'],
        ['rotation', 'unknown'],
      ],
    );
  });

  test('tells of pods that run unmeshed, as `default`, or with an old sidecar', async () => {
    const out = { 'cellmesh.io/inject': null };
    await server.send('PATCH', '/api/v1/namespaces/shop', { metadata: { labels: out } });
    await eventually(async () => {
      await createPod('early', { serviceAccountName: 'default', hostNetwork: true });
      const pod = (await server.send('GET', `${shopPods}/early`)) as { spec: { initContainers?: unknown } };
      if (pod.spec.initContainers === undefined) return;
      await server.send('DELETE', `${shopPods}/early?gracePeriodSeconds=0`);
      throw new Error('the API server has not seen yet that the namespace is out');
    });
    await createPod('old', {
      initContainers: [{ name: 'cellmesh-sidecar', image: 'registry.example/cellmesh:0.0.9', restartPolicy: 'Always' }],
    });
    await server.send('PATCH', '/api/v1/namespaces/shop', {
      metadata: { labels: { 'cellmesh.io/inject': 'enabled' } },
    });
    assert.match(await say('pods-without-sidecar'), /^warn\nshop\/early has none/);
    assert.match(await say('pods-default-account'), /^fail\nshop\/early runs as `default`/);
    assert.match(await say('pods-host-network'), /^warn\nshop\/early has the network of its node/);
    assert.match(await say('pods-old-sidecar'), /^warn\nshop\/old runs .*:0\.0\.9, new ones .*:0\.1\.0/);
    assert.match(await say('accounts-without-policy'), /^warn\nshop\/old has pods and no ServicePolicy/);
    for (const name of ['early', 'old']) await server.send('DELETE', `${shopPods}/${name}?gracePeriodSeconds=0`);
  });

  test('tells of interception that was asked for and is not there', async () => {
    const annotations = { 'cellmesh.io/mode': 'transparent' };
    await server.send('PATCH', `${shopPods}/web`, { metadata: { annotations } });
    assert.match(await say('interception'), /^fail\nshop\/web asks for transparent mode/);
    await server.send('PATCH', `${shopPods}/web`, { metadata: { annotations: { 'cellmesh.io/mode': null } } });
  });

  test('tells of a Service past the sidecar, and of a namespace that no NetworkPolicy closes', async () => {
    const service = '/api/v1/namespaces/shop/services/web';
    await server.send('PATCH', service, { spec: { ports: [{ port: 80, targetPort: 8080 }] } });
    assert.match(await say('services-past-sidecar'), /^warn\nthe Service shop\/web leads to port 8080/);
    await server.send('PATCH', service, { spec: { ports: [{ port: 80, targetPort: 14_006 }] } });
    const closing = '/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/mesh';
    await server.send('PATCH', closing, { spec: { policyTypes: ['Egress'] } });
    assert.match(await say('network-policies'), /^warn\nshop has none/);
    await server.send('PATCH', closing, { spec: { policyTypes: ['Ingress'] } });
  });

  test('tells of policy that is refused, one-sided, or about nothing', async () => {
    await server.send('POST', policies, policy('ghost', { calls: [{ to: 'shop/store' }] }));
    assert.match(await say('policies-accepted'), /^warn\nServicePolicy shop\/ghost: nobody has judged/);
    await setAccepted(server, `${policies}/ghost`, 'False', 'a contradiction');
    assert.match(await say('policies-accepted'), /^fail\nServicePolicy shop\/ghost is refused: a contradiction/);
    assert.match(await say('policy-one-sided'), /^warn\nServicePolicy shop\/ghost:\d+: .*call-not-allowed/);
    assert.match(await say('policies-without-pods'), /^warn\nno pod with a sidecar runs as shop\/ghost/);
    await server.send('DELETE', `${policies}/ghost`);
  });

  test('tells of a trust bundle that is old or missing', async () => {
    const map = '/api/v1/namespaces/shop/configmaps/cellmesh-trust-bundle';
    await server.send('PATCH', map, { data: { 'trust-bundle.json': '{"keys":[]}' } });
    assert.match(await say('trust-bundle-maps'), /^fail\nthe trust bundle in shop is not that of cellmesh/);
    await server.send('DELETE', map);
    assert.match(await say('trust-bundle-maps'), /^fail\nshop has no ConfigMap/);
    await createBundle(server, 'shop', serializeTrustBundle(bundle));
  });

  test('tells of replicas that are not ready, and of a budget that is not there', async () => {
    await server.send('PATCH', `${deployment}/status`, { status: { readyReplicas: 1 } });
    assert.match(await say('replicas'), /^warn\n1 of 2 replicas ready/);
    await server.send('PATCH', `${deployment}/status`, { status: { readyReplicas: 2 } });
    await server.send('DELETE', '/apis/policy/v1/namespaces/cellmesh/poddisruptionbudgets/cellmesh-control-plane');
    assert.match(await say('disruption-budget'), /^warn\n/);
  });

  test('tells of a leader that is gone, and of a node whose clock or kubelet stands still', async () => {
    await renewLeases(server, 120_000);
    assert.match(await say('leader'), /^fail\npod-1 leads, and renewed its Lease 2 min ago: nobody leads any more/);
    assert.match(await say('node-clocks'), /^warn\nnode-1 renewed its lease 1\d\d s ago/);
    await renewLeases(server, -60_000);
    assert.match(await say('leader'), /^warn\n.*clocks differ/);
    assert.match(await say('node-clocks'), /^warn\nthe clock of node-1 is \d+ s ahead/);
  });

  test('tells of webhooks that do not answer, fail open, or are called with another root', async () => {
    const [webhook] = ((await server.send('GET', injectorPath)) as { webhooks: [Record<string, unknown>] }).webhooks;
    const change = (fields: object) => server.send('PATCH', injectorPath, { webhooks: [{ ...webhook, ...fields }] });
    const { clientConfig } = webhook as { clientConfig: object };
    await change({ clientConfig: { ...clientConfig, url: 'https://127.0.0.1:1/inject' } });
    await eventually(async () =>
      assert.match(await say('webhook-answers'), /^fail\na pod in shop would be refused: .*failed calling webhook/),
    );
    const other = (await testAuthority(systemClock, 'cell-1.example')).authority.bundle.current;
    const { authority } = await startTestInjector(join(server.directory, 'other'), other).then(async (started) => {
      await started[Symbol.asyncDispose]();
      return started;
    });
    const caBundle = Buffer.from(authority).toString('base64');
    await change({ failurePolicy: 'Ignore', namespaceSelector: {}, clientConfig: { ...clientConfig, caBundle } });
    assert.match(await say('webhooks'), /^fail\n.*everything passes\n.*not bound to namespaces/);
    assert.match(await say('webhook-authority'), /^fail\ncaBundle of cellmesh-injector lacks a root/);
    await server.send('DELETE', injectorPath);
    assert.match(await say('webhooks'), /^fail\ncellmesh-injector is not there/);
    await eventually(async () => assert.match(await say('webhook-answers'), /^fail\na pod in shop would get none/));
  });

  test('tells of rights that the control plane lacks', async () => {
    const rbac = '/apis/rbac.authorization.k8s.io/v1';
    await server.send('DELETE', `${rbac}/namespaces/cellmesh/rolebindings/${installedRights}`);
    await eventually(async () =>
      assert.match(await say('rights'), /^fail\n.* may not create leases\.coordination\.k8s\.io in cellmesh \(elect/),
    );
    await server.send('DELETE', `${rbac}/clusterrolebindings/${installedRights}`);
    await eventually(async () =>
      assert.match(await say('rights'), /^fail\n.* may not create tokenreviews\.authentication\.k8s\.io \(/),
    );
  });

  test('tells of definitions that are not there, and of what it cannot know without them', async () => {
    await server.send('DELETE', `${definitionsPath}/servicepolicies.cellmesh.io`);
    await eventually(async () => assert.match(await say('crds'), /^fail\nservicepolicies\.cellmesh\.io is not there/));
    await eventually(async () => assert.match(await say('policy-errors'), /^unknown\nnot known: the API server: /));
    await server.send('PATCH', `${ownMaps}/cellmesh-control-plane`, { data: { 'injector.yaml': 'mode: explicit\n' } });
    assert.match(await say('pods-old-sidecar'), /^warn\nthe ConfigMap cellmesh-control-plane names no image/);
    await server.send('PATCH', '/api/v1/namespaces/shop', { metadata: { labels: { 'cellmesh.io/inject': null } } });
    assert.match(await say('namespaces'), /^warn\nnone has/);
  });

  test('is not called well by somebody who may see nothing of it', async () => {
    await createServiceAccount(server, 'cellmesh', 'viewer');
    const token = await createToken(server, { namespace: 'cellmesh', name: 'viewer' });
    const { code, told } = await run(await server.kubeconfigAs('viewer', token), '--only', 'cluster,pods,roots-end');
    assert.equal(code, 1);
    const seen = told.filter(({ verdict }) => verdict !== 'unknown').map(({ id }) => id);
    assert.deepEqual(seen, ['kubernetes-version']);
    assert.match(
      told.find(({ id }) => id === 'replicas')!.findings[0]!.what,
      /^not known: the API server: .*forbidden/,
    );
  });

  test('is looked at with the credentials that the plugin of a kubeconfig makes, or not at all', async () => {
    const file = join(server.directory, 'exec.kubeconfig');
    const written = async (status: object) => {
      const apiVersion = 'client.authentication.k8s.io/v1';
      const credential = JSON.stringify({ apiVersion, kind: 'ExecCredential', status });
      const exec = { apiVersion, command: 'printf', args: ['%s', credential], interactiveMode: 'Never' };
      await writeFile(file, JSON.stringify({ ...document, ...named('user', { exec }) }));
    };
    const named = (kind: string, value: object) => ({ [`${kind}s`]: [{ name: 'test', [kind]: value }] });
    const document = {
      ...named('cluster', { server: server.url, 'certificate-authority': 'pki/ca.crt' }),
      ...named('context', { cluster: 'test', user: 'test' }),
      'current-context': 'test',
    };
    const [chain, key] = await Promise.all(
      ['admin.crt', 'admin.key'].map((name) => readFile(join(server.directory, 'pki', name), 'utf8')),
    );
    await written({ clientCertificateData: chain, clientKeyData: key });
    const { told } = await run(file, '--only', 'kubernetes-version');
    assert.deepEqual(
      told.map(({ verdict }) => verdict),
      ['ok'],
    );
    await written({});
    const { code, stderr } = await runCommand(['check', '--kubeconfig', file]);
    assert.equal(code, 69);
    assert.match(stderr, /the credential plugin printf has printed .* without a token .*\[credential_plugin_failed\]/);
  });

  test('of which nothing answers is told of in time', async () => {
    await server.stop();
    const { code, told } = await run(server.kubeconfig, '--timeout', '1s', '--only', 'cluster,pods');
    assert.equal(code, 1);
    assert.match(told[0]!.findings[0]!.what, /no answer in 1s|does not answer/);
    assert.deepEqual(new Set(told.map(({ verdict }) => verdict)), new Set(['unknown']));
  });
});
