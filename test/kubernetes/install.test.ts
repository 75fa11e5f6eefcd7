import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { applyAll } from '#cli/install/apply.ts';
import { serverVersion } from '#kubernetes/server-version.ts';
import { systemClock } from '#runtime/clock.ts';
import { type CommandResult, runCommand } from '../support/command.ts';
import { setDeploymentReady } from '../support/deployment-status.ts';
import { eventually } from '../support/eventually.ts';
import { type KubernetesServer, startKubernetes } from '../support/kubernetes.ts';
import { createNamespace, createPod, createServiceAccount, createToken } from '../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../support/kubernetes-programs.ts';
import { readCaBundle, writeCaBundle } from '../support/own-ca-bundle.ts';

const programs = kubernetesPrograms();
const cell = join(import.meta.dirname, '../../examples/messaging/policy/cell.yaml');
const controlPlane = '/apis/apps/v1/namespaces/cellmesh/deployments/cellmesh-control-plane';
const webhooks = ['MutatingWebhookConfiguration cellmesh-injector', 'ValidatingWebhookConfiguration cellmesh-policies'];

interface Results {
  readonly applied: readonly { readonly object: string; readonly outcome: string }[];
  readonly leftOut: readonly string[];
}

function resultsOf({ code, stdout, stderr }: CommandResult): Results {
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

describe('`install` into a cluster', { skip: 'skip' in programs && programs.skip }, () => {
  let server: KubernetesServer;
  const run = (...args: readonly string[]) => runCommand([...args, '--kubeconfig', server.kubeconfig]);
  const install = (...args: readonly string[]) => run('install', 'cell', '--apply', '--timeout', '10s', ...args);
  const exists = async (path: string) => (await server.request('GET', path)).status === 200;

  before(async () => {
    if (!('skip' in programs)) server = await startKubernetes(programs);
  });
  after(() => server?.[Symbol.asyncDispose]());

  test('without a cell leaves the webhooks out, and says what to do', async () => {
    const { code, stdout, stderr } = await install();
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^created {4}CustomResourceDefinition cells\.cellmesh\.io$/m);
    assert.match(stderr, /^created {4}Deployment cellmesh\/cellmesh-control-plane$/m);
    assert.match(stdout, /^\d+ created, 0 changed, 0 unchanged\nThere is no Cell yet/);
    for (const name of webhooks) assert.ok(stdout.includes(name), stdout);
    assert.equal(
      await exists('/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/cellmesh-injector'),
      false,
    );
  });

  test('gives up on a control plane that does not get ready with object, cause and next step', async () => {
    const labels = { 'app.kubernetes.io/name': 'cellmesh', 'app.kubernetes.io/component': 'control-plane' };
    const container = { name: 'control-plane', image: 'cellmesh' };
    await server.send('POST', '/api/v1/namespaces/cellmesh/pods', {
      metadata: { name: 'control-plane-1', labels },
      spec: {
        securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
        containers: [
          { ...container, securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } },
        ],
      },
    });
    const waiting = { reason: 'ErrImagePull', message: 'there is no such image' };
    const containerStatuses = [
      { name: 'control-plane', image: 'cellmesh', imageID: '', ready: false, restartCount: 0, state: { waiting } },
    ];
    await server.send('PATCH', '/api/v1/namespaces/cellmesh/pods/control-plane-1/status', {
      status: { containerStatuses },
    });
    const { code, stderr } = await install('--cell', cell, '--timeout', '1s');
    assert.equal(code, 1);
    assert.match(
      stderr,
      /Deployment cellmesh\/cellmesh-control-plane is not ready after 1 s: control-plane-1: ErrImagePull: there is no such image; `kubectl -n cellmesh logs deployment\/cellmesh-control-plane` says more \[install_failed\]/,
    );
  });

  test('brings the webhooks when the control plane is ready', async () => {
    const running = install('--cell', cell, '--json', '--wait');
    const isBefore = exists('/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/cellmesh-injector');
    assert.equal(await isBefore, false);
    await setDeploymentReady(server, 'cellmesh', 'cellmesh-control-plane');
    const { applied, leftOut } = resultsOf(await running);
    assert.deepEqual(leftOut, []);
    assert.deepEqual(
      applied.slice(-2),
      webhooks.map((object) => ({ object, outcome: 'created' })),
    );
    const settings = await server.send('GET', '/api/v1/namespaces/cellmesh/configmaps/cellmesh-control-plane');
    const { 'injector.yaml': injector } = settings['data'] as Record<string, string>;
    assert.match(injector!, /^trustDomain: cell-1\.cellmesh\.localhost$/m);
  });

  test('a second time changes nothing, and another value what depends on it', async () => {
    const again = resultsOf(await install('--json'));
    assert.deepEqual(new Set(again.applied.map(({ outcome }) => outcome)), new Set(['unchanged']));
    const other = resultsOf(await install('--json', '--set', 'replicas=3'));
    const changed = other.applied.filter(({ outcome }) => outcome !== 'unchanged');
    assert.deepEqual(changed, [{ object: 'Deployment cellmesh/cellmesh-control-plane', outcome: 'changed' }]);
  });

  test('keeps what the control plane writes into the webhooks', async () => {
    const caBundle = await writeCaBundle(server);
    resultsOf(await install('--json', '--set', 'replicas=4'));
    assert.equal(await readCaBundle(server), caBundle);
  });

  test('is not about another cell than the one that is there', async () => {
    const { code, stderr } = await install('--set', 'cell.id=cell-2');
    assert.equal(code, 64);
    assert.match(stderr, /the Cell in the cluster is cell-1, .*, the values `cell` say cell-2, /);
  });

  test('does not take fields of others, unless it is told to', async () => {
    const patch = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'cellmesh-control-plane' } };
    const { status } = await server.request('PATCH', `${controlPlane}?fieldManager=autoscaler&force=true`, {
      body: { ...patch, spec: { replicas: 7 } },
      contentType: 'application/apply-patch+yaml',
    });
    assert.equal(status, 200);
    const { code, stderr } = await install();
    assert.equal(code, 1);
    assert.match(
      stderr,
      /Deployment cellmesh\/cellmesh-control-plane: .*conflict with "autoscaler".*--force-conflicts/s,
    );
    resultsOf(await install('--json', '--force-conflicts'));
  });

  test('says which object was refused, and whose rights it needs', async () => {
    await createNamespace(server, 'shop');
    await createServiceAccount(server, 'shop', 'web');
    const kubeconfig = await server.kubeconfigAs('web', await createToken(server, { namespace: 'shop', name: 'web' }));
    for (const [what, object] of [
      ['cell', 'cells\\.cellmesh\\.io'],
      ['global', 'Namespace cellmesh-global'],
    ] as const) {
      const { code, stderr } = await runCommand(['install', what, '--apply', '--kubeconfig', kubeconfig]);
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`${object}.*forbidden.*cluster-admin`, 's'));
    }
  });

  test('says of a kind that the cluster does not know', async () => {
    const { code, stderr } = await run('install', 'global', '--apply', '--set', 'monitoring.podMonitor=true');
    assert.equal(code, 1);
    assert.match(stderr, /PodMonitor cellmesh-global\/cellmesh-identity: .*the cluster does not know this kind/s);
  });

  test('refuses a cluster without native sidecars before anything is applied', async () => {
    const client = { ask: async () => ({ major: '1', minor: '28' }) } as never;
    const options = { client, clock: systemClock, timeoutMs: 1000, isForced: false, waits: false };
    const applying = applyAll(
      { definitions: [], objects: [] },
      { ...options, onApplied: () => assert.fail(), onWaiting: () => assert.fail() },
    );
    await assert.rejects(applying, { code: 'kubernetes_too_old', message: /Kubernetes 1\.28; .* since 1\.29/ });
    const { major, minor } = await serverVersion(server.client);
    assert.ok(major === 1 && minor >= 29);
  });

  describe('and out of it', () => {
    before(async () => {
      const injected = {
        spec: { initContainers: [{ name: 'cellmesh-sidecar', image: 'none', restartPolicy: 'Always' }] },
      };
      await createNamespace(server, 'other');
      for (const namespace of ['shop', 'other']) {
        await createPod(server, { namespace, name: 'web-1' }, { serviceAccount: 'web' });
        await server.send('POST', `/api/v1/namespaces/${namespace}/configmaps`, {
          metadata: { name: 'cellmesh-trust-bundle' },
        });
      }
      await server.send('POST', '/api/v1/namespaces/shop/pods', {
        metadata: { name: 'web-2' },
        spec: { ...injected.spec, containers: [{ name: 'main', image: 'none' }] },
      });
      for (const name of ['cellmesh-root', 'cellmesh-account-key', 'of-a-user']) {
        await server.send('POST', '/api/v1/namespaces/cellmesh/secrets', { metadata: { name } });
      }
    });

    test('a dry run lists what would go, webhooks first, and takes nothing', async () => {
      const { code, stdout, stderr } = await run('uninstall', 'cell', '--dry-run', '--json');
      assert.equal(code, 0, stderr);
      const { removed, kept, injected, ofUsers } = JSON.parse(stdout);
      assert.deepEqual(removed.slice(0, 3), [...webhooks, 'Deployment cellmesh/cellmesh-control-plane']);
      assert.ok(removed.includes('ConfigMap other/cellmesh-trust-bundle'));
      assert.ok(!removed.includes('ConfigMap shop/cellmesh-trust-bundle'), 'a pod has it mounted');
      assert.deepEqual(kept, ['Secret cellmesh/cellmesh-root', 'Secret cellmesh/cellmesh-account-key']);
      assert.deepEqual([injected, ofUsers], [['Pod shop/web-2'], []]);
      assert.ok(await exists(controlPlane));
    });

    test('kinds of objects do not go while there are objects of users, unless it is agreed to', async () => {
      const { code, stderr } = await run('uninstall', 'cell', '--crds');
      assert.equal(code, 1);
      assert.match(stderr, /0 ServicePolicies and 1 Cells would be lost; --yes agrees/);
      assert.ok(await exists(controlPlane), 'nothing has gone');
    });

    test('everything of ours goes, and nothing else', async () => {
      const { code, stdout, stderr } = await run('uninstall', 'cell');
      assert.equal(code, 0, stderr);
      assert.match(
        stdout,
        /Kept, since it holds roots and keys \(--delete-root\):\n {2}Secret cellmesh\/cellmesh-root\n/,
      );
      assert.match(stdout, /Pods with a sidecar, which serve on until they are restarted:\n {2}Pod shop\/web-2\n/);
      const left = JSON.parse((await run('uninstall', 'cell', '--dry-run', '--json')).stdout);
      assert.deepEqual(left.removed, []);
      for (const name of ['cellmesh-root', 'of-a-user'])
        assert.ok(await exists(`/api/v1/namespaces/cellmesh/secrets/${name}`));
      assert.ok(await exists('/apis/cellmesh.io/v1alpha1/cells/cell-1'), 'objects of users stay');
      assert.ok(
        await exists('/apis/apps/v1/namespaces/cellmesh-global/statefulsets/cellmesh-identity'),
        'the other installation stays',
      );
    });

    test('with --crds and --delete-root nothing of it is left but the namespace', async () => {
      const { code, stdout, stderr } = await run('uninstall', 'cell', '--crds', '--yes', '--delete-root');
      assert.equal(code, 0, stderr);
      assert.match(stdout, /With their kinds went:\n {2}Cell cell-1\n/);
      await eventually(async () => assert.equal(await exists('/apis/cellmesh.io/v1alpha1/cells/cell-1'), false));
      assert.equal(await exists('/api/v1/namespaces/cellmesh/secrets/cellmesh-root'), false);
      assert.ok(await exists('/api/v1/namespaces/cellmesh/secrets/of-a-user'));
    });

    test('what Helm has installed is left to Helm', async () => {
      const labels = { 'app.kubernetes.io/managed-by': 'Helm' };
      await server.send('PATCH', '/apis/apps/v1/namespaces/cellmesh-global/statefulsets/cellmesh-identity', {
        metadata: { labels },
      });
      const { code, stderr } = await run('uninstall', 'global');
      assert.equal(code, 1);
      assert.match(stderr, /Helm has installed StatefulSet cellmesh-global\/cellmesh-identity/);
    });
  });
});
