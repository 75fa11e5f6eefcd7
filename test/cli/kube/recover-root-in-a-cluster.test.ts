import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { createRoot, singleRoot } from '#certs/roots.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { SecretRootStore } from '#control-plane/roots/root-store-secret.ts';
import { systemRandom } from '#runtime/random.ts';
import { callHttp } from '../../support/application.ts';
import { runCommand } from '../../support/command.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { freePort } from '../../support/free-port.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { createNamespace, setPodStatus } from '../../support/kubernetes-objects.ts';
import { applyObject, prepareCluster } from '../../support/kubernetes-policies.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { logLines } from '../../support/log-lines.ts';
import { serviceNames } from '../../support/messaging-application.ts';
import { type Cell, startCell } from '../../support/start-cell.ts';

const trustDomain = parseTrustDomain('cell-1.cellmesh.localhost');
const namespace = 'cellmesh';
const yearMs = 365 * 24 * 3600_000;

const programs = kubernetesPrograms();
describe('a root in a cluster that has ended', { skip: 'skip' in programs && programs.skip }, () => {
  const lines = logLines();
  const stack = new AsyncDisposableStack();
  let server: KubernetesServer;
  let cell: Cell;
  let health: number;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = stack.use(await startKubernetes(programs));
    await prepareCluster(server);
    health = await freePort();
    cell = stack.use(
      await startCell({
        logger: lines.logger,
        controlPlaneFlags: { kubernetes: server.kubeconfig, replica: 'first', health: `127.0.0.1:${health}` },
        async applyManifests(texts) {
          for (const text of texts) await applyObject(server, text);
        },
      }),
    );
  });
  after(() => stack.disposeAsync());

  const recover = (...more: string[]) => runCommand(['certs', 'recover', '--kubeconfig', server.kubeconfig, ...more]);
  const ready = () => callHttp({ port: health, path: '/readyz' });

  /** A pod by its sidecar's container alone; it is at an address of its own. */
  async function placePod(): Promise<void> {
    await server.send('POST', '/api/v1/namespaces/messaging/pods', {
      metadata: { name: 'delivery-1' },
      spec: {
        ...{ serviceAccountName: 'delivery', nodeName: 'node-1' },
        initContainers: [{ name: 'cellmesh-sidecar', image: 'none', restartPolicy: 'Always' }],
        containers: [{ name: 'main', image: 'none' }],
      },
    });
    await setPodStatus(
      server,
      { namespace: 'messaging', name: 'delivery-1' },
      { address: '127.0.0.3', isReady: false },
    );
  }

  /** A year passes in the Secret. */
  async function endRoot(): Promise<void> {
    const store = new SecretRootStore({ client: server.client, namespace, trustDomain });
    const found = await store.load();
    const past = new FakeClock(Date.now() - yearMs - 3600_000);
    const ended = await createRoot({ trustDomain, clock: past, random: systemRandom }, 'active');
    await store.save(singleRoot(trustDomain, ended, found!.roots.sequence), found!.version);
  }

  test('while it is good, is missing, or is not of a control plane, recovery is refused', async () => {
    const good = await recover();
    assert.equal(good.code, 1);
    assert.match(good.stderr, /is good until .*rotate-root.*\[rotation_refused\]/);
    await createNamespace(server, 'empty');
    const missing = await recover('--namespace', 'empty');
    assert.equal(missing.code, 66);
    assert.match(missing.stderr, /there are no roots yet \[not_found\]/);
    assert.equal((await recover('--of', 'identity')).code, 64);
    const other = await recover('--trust-domain', 'cell-2.cellmesh.localhost');
    assert.match(other.stderr, /it is of cell-1\.cellmesh\.localhost, not of cell-2.*\[roots_invalid\]/);
  });

  test('the leader says so and how to recover; then it is ready, and sidecars join again', async () => {
    for (const name of serviceNames) await cell.services[name].stopSidecar();
    await cell.stopControlPlane();
    await placePod();
    await endRoot();
    const starting = cell.startControlPlane();
    const said =
      /the root of cell-1\.cellmesh\.localhost ended .*`cellmesh certs recover --namespace cellmesh`.*\[root_expired\]/;
    await eventually(async () => {
      const { status, body } = await ready();
      assert.equal(status, 503);
      assert.match(body, said);
    }, 10_000);
    assert.ok(
      lines.with('the roots cannot be opened', 'certs recover --namespace cellmesh', 'root_expired').length > 0,
    );

    const recovered = await recover();
    assert.equal(recovered.code, 0, recovered.stderr);
    assert.match(recovered.stdout, /^The root of cell-1\.cellmesh\.localhost \([0-9a-f]{16}\) ended .* A new one/);
    assert.match(recovered.stdout, /^ {2}kubectl -n cellmesh rollout restart deployment\/cellmesh-control-plane$/m);
    assert.match(recovered.stdout, /^ {2}messaging\/delivery-1$/m);
    assert.match(recovered.stdout, /^ {2}cellmesh cells register <cell> --kube /m);
    assert.equal((await recover()).code, 1, 'the new one is good');

    // A restart is sooner: here it looks again by itself.
    await starting;
    const root = dirname(cell.manifestsDir);
    const { address } = cell.controlPlane;
    await cell.identity.admin.call(IdentityAdmin.method.registerCell, {
      cell: {
        cellId: 'cell-1',
        trustDomain,
        trustBundle: await readFile(join(root, 'control-plane/trust-bundle.json'), 'utf8'),
        controlPlaneHost: address.host,
        controlPlanePort: address.port,
      },
    });
    await eventually(async () => assert.equal((await ready()).status, 200), 10_000);
    for (const name of serviceNames) {
      const { id, stateDir } = cell.services[name];
      // A year later the SVID in it has ended.
      await rm(join(stateDir, 'svid'), { recursive: true });
      const { token } = await cell.controlPlane.joinTokens.create({ id });
      await writeFile(join(root, `${name}.join-token`), token.reveal());
      await cell.services[name].startSidecar();
    }
    await cell.whenReady();
    const token = await cell.mint();
    await eventually(async () => {
      const { status, body } = await cell.callAsRouter({ token });
      assert.equal(status, 200, body);
    }, 30_000);
  });
});
