import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { controlPlaneSettings } from '#control-plane/settings.ts';
import { type RunningControlPlane, startControlPlane } from '#control-plane/start-control-plane.ts';
import { systemClock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { systemRandom } from '#runtime/random.ts';
import { callHttp } from '../../support/application.ts';
import { eventually } from '../../support/eventually.ts';
import { globalTrustDomain } from '../../support/identity-setting.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { createPod, deletePod, setPodStatus } from '../../support/kubernetes-objects.ts';
import {
  applyObject,
  conditionsOf,
  deleteObject,
  prepareCluster,
  statusOf,
} from '../../support/kubernetes-policies.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { logLines } from '../../support/log-lines.ts';
import { cellDocument } from '../../support/messaging-application.ts';
import { type Cell, startCell } from '../../support/start-cell.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const trustDomain = parseTrustDomain('cell-1.cellmesh.localhost');

const programs = kubernetesPrograms();
describe('a cell of which the cluster holds the policy', { skip: 'skip' in programs && programs.skip }, () => {
  const lines = logLines();
  const stack = new AsyncDisposableStack();
  const documents = new Map<string, string>();
  let server: KubernetesServer;
  let cell: Cell;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = stack.use(await startKubernetes(programs));
    await prepareCluster(server);
    cell = stack.use(
      await startCell({
        logger: lines.logger,
        controlPlaneFlags: { kubernetes: server.kubeconfig, replica: 'first' },
        async applyManifests(texts) {
          for (const text of texts) {
            documents.set(/name: ([a-z0-9-]+)/.exec(text)![1]!, text);
            await applyObject(server, text);
          }
        },
      }),
    );
  });
  after(() => stack.disposeAsync());

  /** One more replica, with a root of its own: sidecars of this test are the first one's. */
  async function startReplica(replica: string): Promise<RunningControlPlane> {
    const root = stack.use(await temporaryDirectory()).path;
    await mkdir(join(root, 'state'), { mode: 0o700 });
    const flags = {
      ...{ stateDir: join(root, 'state'), listen: '127.0.0.1:0', health: '127.0.0.1:0', globalTrustDomain, replica },
      ...{ globalBundle: cell.globalBundleFile, kubernetes: server.kubeconfig },
    };
    const surroundings = { clock: systemClock, random: systemRandom, logger: lines.logger };
    return await startControlPlane(loadConfig(controlPlaneSettings, { environment: {}, flags }), surroundings);
  }

  /** A pod with a sidecar that nothing runs. */
  async function place(
    name: string,
    { serviceAccount, node = 'node-1', address }: { serviceAccount: string; node?: string; address?: string },
  ): Promise<void> {
    const ports = [{ name: 'cellmesh-mtls', containerPort: 15_555 }];
    await server.send('POST', '/api/v1/namespaces/messaging/pods', {
      metadata: { name },
      spec: {
        ...{ serviceAccountName: serviceAccount, nodeName: node },
        initContainers: [{ name: 'cellmesh-sidecar', image: 'none', restartPolicy: 'Always', ports }],
        containers: [{ name: 'main', image: 'none' }],
      },
    });
    if (address !== undefined) await setPodStatus(server, { namespace: 'messaging', name }, { address });
  }

  const leads = async ({ healthPort }: RunningControlPlane) => {
    const { body } = await callHttp({ port: healthPort, path: '/metrics' });
    return /^cellmesh_leader 1$/m.test(body);
  };

  test('serves by it, and says on how many sidecars it is', async () => {
    assert.equal((await cell.callAsRouter({ token: await cell.mint() })).status, 200);
    for (const name of ['api', 'messaging', 'delivery'])
      await eventually(async () => {
        const status = await statusOf(server, documents.get(name)!);
        assert.deepEqual(conditionsOf(status), { Accepted: 'True InForce', Programmed: 'True AllPods' });
        assert.deepEqual(status.pods, { total: 1, programmed: 1 });
      });
  });

  test('takes a change to the sidecars, and counts them by the generation', async () => {
    const text = documents.get('api')!.replace('name: read, from: [router]', 'name: reads, from: [router]');
    await applyObject(server, text);
    await eventually(async () => {
      const status = await statusOf(server, text);
      assert.equal(status.observedGeneration, 2);
      assert.equal(conditionsOf(status)['Programmed'], 'True AllPods');
    });
    const answer = await cell.callAsRouter({ token: await cell.mint() });
    assert.equal(answer.status, 200);
    const record = await cell.findDecision(String(answer.headers['cellmesh-decision']));
    assert.equal(JSON.stringify(record).includes('"reads"'), true, JSON.stringify(record));
  });

  test('counts the pods that have no sidecar connected', async () => {
    await place('delivery-9', { serviceAccount: 'delivery' });
    await place('delivery-10', { serviceAccount: 'delivery' });
    await eventually(async () => {
      const status = await statusOf(server, documents.get('delivery')!);
      assert.deepEqual(status.pods, { total: 2, programmed: 1 });
      assert.equal(conditionsOf(status)['Programmed'], 'False Pending');
    });
    for (const name of ['delivery-9', 'delivery-10']) await deletePod(server, 'messaging', name);
  });

  test('sends callers to the pods of a service, by their readiness, whoever feeds their sidecars; those of their zone are near', async () => {
    const { messaging } = cell.services;
    const known = async () => {
      const file = join(messaging.stateDir, 'feeds', 'endpoints.json');
      const { services } = JSON.parse(JSON.parse(await readFile(file, 'utf8')).snapshot.document);
      const endpoints: { host: string; port: number; locality: string }[] = services[cell.services.delivery.id];
      const texts = endpoints.map(({ host, port, locality }) =>
        host === '127.0.0.1' ? host : `${host} ${port} ${locality}`,
      );
      return texts.sort();
    };
    const knows = (...texts: readonly string[]) => eventually(async () => assert.deepEqual(await known(), texts));
    await knows('127.0.0.1');
    for (const [zone, name] of Object.entries({ a: 'node-a', b: 'node-b' })) {
      const labels = { 'topology.kubernetes.io/zone': zone };
      await server.send('POST', '/api/v1/nodes', { metadata: { name, labels } });
    }
    await messaging.stopSidecar();
    await messaging.startSidecar({ advertise: '127.0.0.3' });
    await place('messaging-a', { serviceAccount: 'messaging', node: 'node-a', address: '127.0.0.3' });
    await place('delivery-a', { serviceAccount: 'delivery', node: 'node-a', address: '10.1.0.1' });
    await place('delivery-b', { serviceAccount: 'delivery', node: 'node-b', address: 'fd00::2' });
    await knows('10.1.0.1 15555 local', '127.0.0.1', 'fd00::2 15555 b');
    const second = { namespace: 'messaging', name: 'delivery-b' };
    await setPodStatus(server, second, { address: 'fd00::2', isReady: false });
    await knows('10.1.0.1 15555 local', '127.0.0.1');
    await setPodStatus(server, second, { address: 'fd00::2' });
    await knows('10.1.0.1 15555 local', '127.0.0.1', 'fd00::2 15555 b');
    await server.send('DELETE', '/api/v1/namespaces/messaging/pods/delivery-b?gracePeriodSeconds=30');
    await knows('10.1.0.1 15555 local', '127.0.0.1');
    for (const name of ['messaging-a', 'delivery-a', 'delivery-b']) await deletePod(server, 'messaging', name);
    await knows('127.0.0.1');
    await messaging.stopSidecar();
    await messaging.startSidecar();
    await cell.whenReady();
  });

  test('hands over to another replica within a second, which goes on telling and counts both', async () => {
    const second = await startReplica('second');
    assert.deepEqual([await leads(cell.controlPlane), await leads(second)], [true, false]);
    assert.equal(second.trustDomain, trustDomain);
    const begun = performance.now();
    await cell.stopControlPlane();
    await eventually(async () => assert.ok(await leads(second)), 5_000, 5);
    assert.ok(performance.now() - begun < 2_000, `${performance.now() - begun} ms, with the whole stop of the first`);
    await applyObject(server, documents.get('api')!);
    await eventually(async () => {
      const status = await statusOf(server, documents.get('api')!);
      assert.equal(status.observedGeneration, 3);
      assert.equal(conditionsOf(status)['Accepted'], 'True InForce');
    });
    await cell.startControlPlane();
    assert.equal(await leads(cell.controlPlane), false);
    await eventually(async () => {
      const status = await statusOf(server, documents.get('api')!);
      assert.deepEqual(
        status.pods,
        { total: 1, programmed: 1 },
        'its sidecar is connected to the first, and the second tells',
      );
    }, 30_000);
    await second[Symbol.asyncDispose]();
    await eventually(async () => assert.ok(await leads(cell.controlPlane)), 5_000, 5);
  });

  test('withdraws a candidate at all replicas when one of them has counted that it denies too much', async () => {
    const candidate = documents
      .get('api')!
      .replace('{ name: api,', '{ name: candidate,')
      .replace('mode: enforce', 'mode: enforce\n  rollout: { percent: 100, newlyDeniedMax: 10%, requestsMin: 5 }')
      .replace(/ {4}- \{ name: read, .*\n/, '');
    const uid = await createPod(server, { namespace: 'cellmesh', name: 'third' }, { serviceAccount: 'control-plane' });
    await using second = await startReplica('third');
    await eventually(async () => {
      const report = await server.send('GET', '/api/v1/namespaces/cellmesh/configmaps/cellmesh-replica-third');
      const { ownerReferences } = report['metadata'] as { ownerReferences: { uid: string }[] };
      assert.deepEqual(
        ownerReferences.map((owner) => owner.uid),
        [uid],
        'it goes with its pod',
      );
    });
    await applyObject(server, candidate);
    const call = async () => (await cell.callAsRouter({ token: await cell.mint() })).status;
    await eventually(async () => assert.equal(await call(), 403));
    await eventually(async () => assert.equal(await call(), 200), 20_000);
    const { withdrawn } = await eventually(async () => {
      const status = await statusOf(server, candidate);
      assert.match(status.withdrawn?.version ?? '', /^[0-9a-f]{12}$/);
      return status;
    });
    assert.equal(second.trustDomain, trustDomain);
    await eventually(() => assert.equal(lines.with('takes over', withdrawn!.version).length, 1));
    await deleteObject(server, candidate);
  });

  test('goes on with the policy that it has while the API server is away, and follows it afterwards', async () => {
    await server.stop();
    assert.equal((await cell.callAsRouter({ token: await cell.mint() })).status, 200);
    await server.start();
    const text = documents.get('api')!.replace('name: read, from: [router]', 'name: again, from: [router]');
    await applyObject(server, text);
    await eventually(
      async () => assert.equal(conditionsOf(await statusOf(server, text))['Programmed'], 'True AllPods'),
      30_000,
    );
    await eventually(async () => assert.equal((await statusOf(server, text)).observedGeneration, 4), 30_000);
  });
});

test('a control plane with identity and without the bundle to trust it by does not start', async () => {
  await using directory = await temporaryDirectory();
  await writeFile(join(directory.path, 'cell.yaml'), cellDocument);
  const flags = { stateDir: join(directory.path, 'state'), manifestsDir: directory.path, identity: '127.0.0.1:1' };
  const config = loadConfig(controlPlaneSettings, { environment: {}, flags });
  const surroundings = { clock: systemClock, random: systemRandom, logger: logLines().logger };
  await assert.rejects(startControlPlane(config, surroundings), /needs --global-bundle/);
});

test('a cell may have no customers from outside: neither identity nor a global bundle', async () => {
  await using directory = await temporaryDirectory();
  await writeFile(join(directory.path, 'cell.yaml'), cellDocument);
  const ports = { listen: '127.0.0.1:0', health: '127.0.0.1:0' };
  const flags = { stateDir: join(directory.path, 'state'), manifestsDir: directory.path, ...ports };
  const config = loadConfig(controlPlaneSettings, { environment: {}, flags });
  const surroundings = { clock: systemClock, random: systemRandom, logger: logLines().logger };
  await using controlPlane = await startControlPlane(config, surroundings);
  assert.deepEqual(controlPlane.notReady(), []);
});

test('a control plane that is told of no cell does not start', async () => {
  await using directory = await temporaryDirectory();
  const flags = { stateDir: directory.path, globalTrustDomain, globalBundle: 'x', health: '127.0.0.1:0' };
  const config = loadConfig(controlPlaneSettings, { environment: {}, flags });
  const surroundings = { clock: systemClock, random: systemRandom, logger: logLines().logger };
  await assert.rejects(startControlPlane(config, surroundings), { code: 'config_invalid' });
});
