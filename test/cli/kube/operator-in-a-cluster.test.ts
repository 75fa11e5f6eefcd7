import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { isAlive, runCommand } from '../../support/command.ts';
import { grantDocumentedRights } from '../../support/documented-rights.ts';
import { eventually } from '../../support/eventually.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import {
  bindClusterRole,
  createNamespace,
  createPod,
  createServiceAccount,
  createToken,
  setPodStatus,
} from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { logLines } from '../../support/log-lines.ts';
import { serviceNames } from '../../support/messaging-application.ts';
import { namelessTrustBundle } from '../../support/nameless-trust-bundle.ts';
import { type Cell, startCell } from '../../support/start-cell.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { root } from '../../tidy/source-files.ts';

const namespace = 'cellmesh';
const account = { namespace, name: 'cellmesh-operator' };
const audience = controlPlaneId(parseTrustDomain('cell-1.cellmesh.localhost'));
const component = { 'app.kubernetes.io/name': 'cellmesh', 'app.kubernetes.io/component': 'control-plane' };

const programs = kubernetesPrograms();
describe('an operator with kubectl', { skip: 'skip' in programs && programs.skip }, () => {
  const lines = logLines();
  let server: KubernetesServer;
  let cell: Cell;
  let kubectl: string;
  before(async () => {
    assert.ok(!('skip' in programs));
    kubectl = programs.kubectl;
    server = await startKubernetes(programs);
    const kubernetes = await grantDocumentedRights(server);
    cell = await startCell({ logger: lines.logger, withoutSidecars: serviceNames, controlPlaneFlags: { kubernetes } });
    await createServiceAccount(server, namespace, account.name);
    await bindClusterRole(server, account, [
      { apiGroups: ['cellmesh.io'], resources: ['decisions', 'policies'], verbs: ['get'] },
    ]);
    await putBundle(await readFile(join(cell.manifestsDir, '../control-plane/trust-bundle.json'), 'utf8'));
  });
  after(async () => {
    await cell?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  async function putBundle(text: string): Promise<void> {
    const name = 'cellmesh-trust-bundle';
    const path = `/api/v1/namespaces/${namespace}/configmaps/${name}?fieldManager=test`;
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { 'trust-bundle.json': text } };
    const { status } = await server.request('PATCH', path, { body, contentType: 'application/apply-patch+yaml' });
    assert.ok(status < 300, String(status));
  }

  const run = (...args: string[]) => runCommand([...args, '--kubeconfig', server.kubeconfig], '', { KUBECTL: kubectl });
  const at = () => ['--address', `127.0.0.1:${cell.controlPlane.address.port}`];

  test('asks with a token and roots that kubectl brings', async () => {
    const { code, stdout, stderr } = await run('policy', 'versions', '--json', ...at());
    assert.equal(code, 0, stderr);
    assert.equal((JSON.parse(stdout) as unknown[]).length, 1);
    const exported = await run('decisions', 'export', ...at());
    assert.deepEqual(exported, { code: 0, stdout: '', stderr: '' });
    assert.equal(lines.with('"message":"call"', 'DecisionLog/Export', 'cellmesh-operator').length, 1);
  });

  test('brings a token of their own', async () => {
    const file = join(server.directory, 'own-token');
    await createServiceAccount(server, namespace, 'somebody');
    await writeFile(file, await createToken(server, { namespace, name: 'somebody' }, { audience }), { mode: 0o600 });
    const { code, stderr } = await run('policy', 'versions', '--token-file', file, ...at());
    assert.equal(code, 77);
    assert.match(stderr, /:somebody may not get policies\.cellmesh\.io; .*\[rpc_denied\]$/m);
  });

  test('is told what is missing for whatever they may not', async () => {
    const id = 'spiffe://cell-1.cellmesh.localhost/ns/messaging/sa/api';
    const { code, stderr } = await run('join-token', 'create', id, ...at());
    assert.equal(code, 77);
    assert.match(
      stderr,
      /{ apiGroups: \[cellmesh\.io\], resources: \[jointokens\], verbs: \[create\] } \[rpc_denied\]/,
    );
  });

  test('is told when there is no kubectl, what it says, and that no pod is ready', async () => {
    const missing = await runCommand(['policy', 'versions', '--kube'], '', { KUBECTL: '/nowhere/kubectl' });
    assert.equal(missing.code, 69);
    assert.match(missing.stderr, /\/nowhere\/kubectl is not there; install it, .* \[kubectl_failed\]/);
    const elsewhere = await run('policy', 'versions', '--namespace', 'default');
    assert.equal(elsewhere.code, 69);
    assert.match(elsewhere.stderr, /kubectl get configmap cellmesh-trust-bundle .*: .*not found \[kubectl_failed\]/);
    const { code, stderr } = await run('policy', 'versions');
    assert.equal(code, 66);
    assert.match(stderr, /no pod of control-plane is ready in the namespace cellmesh \[not_found\]/);
    const both = await run('policy', 'versions', '--admin', 'x');
    assert.equal(both.code, 64);
  });

  test('is led to a pod that is ready, and hears why that fails', async () => {
    for (const name of ['starting', 'ready', 'other']) {
      await createPod(server, { namespace, name }, { serviceAccount: 'control-plane' });
      const labels = name === 'other' ? {} : component;
      await server.send('PATCH', `/api/v1/namespaces/${namespace}/pods/${name}`, { metadata: { labels } });
      const isReady = name !== 'starting';
      await setPodStatus(server, { namespace, name }, { address: '127.0.0.1', isReady });
    }
    const { code, stderr } = await run('policy', 'versions');
    assert.equal(code, 69, stderr);
    // There is no node that it would lead to.
    assert.match(stderr, /kubectl port-forward --address=127\.0\.0\.1 pod\/ready :14010: .+ \[kubectl_failed\]/);
  });

  test('names the trust domain of identity for whichever command asks it', async () => {
    await createNamespace(server, 'own');
    await createServiceAccount(server, 'own', account.name);
    await server.send('POST', '/api/v1/namespaces/own/configmaps', {
      metadata: { name: 'cellmesh-global-trust-bundle' },
      data: { 'trust-bundle.json': namelessTrustBundle() },
    });
    for (const command of [
      ['accounts', 'list'],
      ['certs', 'rotate-root', '--of', 'identity'],
    ]) {
      const unnamed = await run(...command, '--namespace', 'own');
      assert.match(unnamed.stderr, /whose roots name .*, of identity --global-trust-domain \[trust_bundle_invalid\]/);
      const { stderr } = await run(...command, '--namespace', 'own', '--global-trust-domain', 'global.example');
      assert.match(stderr, /no pod of identity is ready in the namespace own \[not_found\]/);
    }
  });

  test('talks to nobody whom the roots of the cluster do not vouch for', async () => {
    await using other = await startCell({ withoutSidecars: serviceNames });
    const { code, stderr } = await run(
      ...['policy', 'versions', '--address', `127.0.0.1:${other.controlPlane.address.port}`],
    );
    assert.equal(code, 77, stderr);
    assert.match(stderr, /\[peer_refused\]/);
  });

  test('leaves no kubectl behind when interrupted', async () => {
    await using directory = await temporaryDirectory();
    const silent = createServer((socket) => void socket.unref());
    silent.listen(0, '127.0.0.1').unref();
    await once(silent, 'listening');
    const kubeconfig = join(directory.path, 'kubeconfig');
    const url = `https://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const document = {
      clusters: [{ name: 'silent', cluster: { server: url } }],
      users: [{ name: 'silent', user: { token: 't' } }],
      contexts: [{ name: 'silent', context: { cluster: 'silent', user: 'silent' } }],
      'current-context': 'silent',
    };
    await writeFile(kubeconfig, JSON.stringify(document));
    const program = `import { startPortForward } from '#cli/kube/port-forward.ts';
      await startPortForward({ kubeconfig: ${JSON.stringify(kubeconfig)}, namespace: 'cellmesh' }, 'pod-0', 14010);`;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
        cwd: root,
        env: { ...process.env, KUBECTL: kubectl },
        stdio: 'ignore',
      });
      const ended = once(child, 'exit');
      const pid = await eventually(async () => {
        const [first] = (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')).split(' ');
        assert.match(await readFile(`/proc/${first}/cmdline`, 'utf8'), /port-forward/);
        return Number(first);
      });
      child.kill(signal);
      assert.deepEqual(await ended, [null, signal]);
      assert.ok(!isAlive(pid), 'kubectl has ended');
    }
    silent.close();
  });
});
