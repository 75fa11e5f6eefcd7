import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ApiClient } from '#api/api-client.ts';
import { Roots, type RootsState } from '#api/generated/cellmesh/certs/v1/roots_pb.ts';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { readSvid } from '#certs/svid.ts';
import { verifyChain } from '#certs/verify-svid.ts';
import { controlPlaneSettings } from '#control-plane/settings.ts';
import { type RunningControlPlane, startControlPlane } from '#control-plane/start-control-plane.ts';
import { systemClock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { systemRandom } from '#runtime/random.ts';
import { WatchSource } from '#runtime/watch.ts';
import { callHttp } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { globalTrustDomain } from '../support/identity-setting.ts';
import { type KubernetesServer, startKubernetes } from '../support/kubernetes.ts';
import { setPodStatus } from '../support/kubernetes-objects.ts';
import { applyObject, prepareCluster } from '../support/kubernetes-policies.ts';
import { kubernetesPrograms } from '../support/kubernetes-programs.ts';
import { startLoad } from '../support/load.ts';
import { logLines } from '../support/log-lines.ts';
import { serviceNames } from '../support/messaging-application.ts';
import { type Cell, startCell } from '../support/start-cell.ts';
import { startEdge } from '../support/start-edge.ts';
import { startTcpRelay } from '../support/tcp-relay.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const trustDomain = parseTrustDomain('cell-1.cellmesh.localhost');
const drill = { svidLifetime: '20s', rootPublishMin: '2s' };
const lease = '/apis/coordination.k8s.io/v1/namespaces/cellmesh/leases/cellmesh-control-plane';
const perSecond = 20;
const rotationMsMax = 60_000;
const lookEveryMs = 250;

const programs = kubernetesPrograms();
describe('a cell whose control plane has two replicas', { skip: 'skip' in programs && programs.skip }, () => {
  const lines = logLines();
  const stack = new AsyncDisposableStack();
  const stateDirs = new Map<RunningControlPlane, string>();
  let server: KubernetesServer;
  let cell: Cell;
  let second: RunningControlPlane;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = stack.use(await startKubernetes(programs));
    await prepareCluster(server);
    cell = stack.use(
      await startCell({
        logger: lines.logger,
        identityFlags: { svidLifetime: '1h' },
        controlPlaneFlags: { kubernetes: server.kubeconfig, replica: 'first', ...drill },
        sidecarFlags: { svidRenewal: '5s' },
        async applyManifests(texts) {
          for (const text of texts) await applyObject(server, text);
        },
      }),
    );
    second = stack.use(await startReplica('second'));
    await cell.services.delivery.stopSidecar();
    await cell.services.delivery.startSidecar({
      controlPlane: `127.0.0.1:${second.address.port}`,
      inbound: '127.0.0.3:0',
      advertise: '127.0.0.3',
    });
    await cell.whenReady();
    await placeDelivery();
  });
  after(() => stack.disposeAsync());

  /** The pod by which the first replica knows a sidecar that the second feeds. */
  async function placeDelivery(): Promise<void> {
    const ports = [{ name: 'cellmesh-mtls', containerPort: cell.services.delivery.sidecar.ports.inbound }];
    await server.send('POST', '/api/v1/namespaces/messaging/pods', {
      metadata: { name: 'delivery-1' },
      spec: {
        ...{ serviceAccountName: 'delivery', nodeName: 'node-1' },
        initContainers: [{ name: 'cellmesh-sidecar', image: 'none', restartPolicy: 'Always', ports }],
        containers: [{ name: 'main', image: 'none' }],
      },
    });
    await setPodStatus(server, { namespace: 'messaging', name: 'delivery-1' }, { address: '127.0.0.3' });
    await eventually(async () => assert.equal((await deliver()).status, 200));
  }

  async function deliver() {
    const token = await cell.mint({ scope: 'messages:read messages:write' });
    return cell.callAsRouter({ token, method: 'POST', body: 'hello' });
  }

  async function startReplica(
    replica: string,
    { health = 0, kubernetes = server.kubeconfig } = {},
  ): Promise<RunningControlPlane> {
    const stateDir = join(stack.use(await temporaryDirectory()).path, 'state');
    await mkdir(stateDir, { mode: 0o700 });
    const flags = {
      ...{ stateDir, listen: '127.0.0.1:0', health: `127.0.0.1:${health}`, globalTrustDomain, replica },
      ...{ globalBundle: cell.globalBundleFile, kubernetes, ...drill },
      identity: `127.0.0.1:${cell.identity.identity.address.port}`,
    };
    const surroundings = { clock: systemClock, random: systemRandom, logger: lines.logger };
    const config = loadConfig(controlPlaneSettings, { environment: {}, flags });
    const started = await startControlPlane(config, surroundings);
    stateDirs.set(started, stateDir);
    return started;
  }

  /** As the administrator, with the SVID of this moment: those of this cell live for seconds. */
  async function ask<T>(replica: RunningControlPlane, use: (client: ApiClient) => Promise<T>): Promise<T> {
    const stateDir = stateDirs.get(replica);
    if (stateDir === undefined) {
      using client = await cell.client();
      return await use(client);
    }
    const identity = new WatchSource(await readSvid(join(stateDir, 'admin'), Date.now()));
    const expect = controlPlaneId(trustDomain);
    using client = new ApiClient({ ...replica.address, expect, identity, clock: systemClock });
    return await use(client);
  }

  const show = (replica: RunningControlPlane) => ask(replica, (client) => client.call(Roots.method.show, {}));
  const serialsOf = ({ roots }: RootsState) => roots.map(({ serial }) => serial);
  const phasesOf = ({ roots }: RootsState) => roots.map(({ phase }) => phase).join('+');

  const leads = async ({ healthPort }: RunningControlPlane) =>
    /^cellmesh_leader 1$/m.test((await callHttp({ port: healthPort, path: '/metrics' })).body);

  async function rootOf(name: (typeof serviceNames)[number]): Promise<string> {
    const { svid, bundles } = await readSvid(join(cell.services[name].stateDir, 'svid'), Date.now());
    return verifyChain(svid.chain, bundles, Date.now()).root.serial;
  }

  test('has one root, and sidecars of both talk to each other', async () => {
    assert.deepEqual([await leads(cell.controlPlane), await leads(second)], [true, false]);
    const [one, other] = [await show(cell.controlPlane), await show(second)];
    assert.deepEqual(serialsOf(one), serialsOf(other));
    assert.notEqual(one.intermediateSerial, other.intermediateSerial);
    const { status, body } = await deliver();
    assert.equal(status, 200);
    assert.match(body, /"service":"delivery"/);
  });

  test('rotates its root under load when the replica that does not lead is asked to, and no request fails', async () => {
    await using edge = await startEdge(cell, { svidRenewal: '5s' });
    const { accountId: user, secret } = await edge.customer(['messages:read', 'messages:write']);
    const send = async () => {
      const { status, body } = await edge.call({ user, secret, method: 'POST', path: '/v1/messages', body: 'hello' });
      return { status, body };
    };
    await using load = startLoad({ perSecond, send });
    await load.next(perSecond);
    const [before] = serialsOf(await show(second));
    const seen = [phasesOf(await ask(second, (client) => client.call(Roots.method.rotate, {})))];
    await eventually(
      async () => {
        const state = await show(second);
        if (seen.at(-1) !== phasesOf(state)) seen.push(phasesOf(state));
        assert.equal(serialsOf(state).includes(before!), false);
      },
      rotationMsMax,
      lookEveryMs,
    );
    assert.deepEqual(seen, ['active+published', 'retiring+active', 'active']);
    const [now] = serialsOf(await show(cell.controlPlane));
    for (const name of serviceNames) assert.equal(await rootOf(name), now);
    await load.next(perSecond);
    const { failures, sent, succeeded } = await load.stop();
    assert.deepEqual(failures.slice(0, 3), []);
    assert.equal(succeeded, sent);
  });

  test('goes on signing with the other replica when the leader stops, and starts again with the same root', async () => {
    const before = serialsOf(await show(second));
    await cell.stopControlPlane();
    await eventually(async () => assert.ok(await leads(second)));
    const begun = performance.now();
    await using third = await startReplica('third');
    assert.ok(performance.now() - begun < 5_000, `${performance.now() - begun} ms`);
    assert.deepEqual(serialsOf(await show(third)), before);
    await cell.startControlPlane();
    assert.equal(await leads(cell.controlPlane), false);
    assert.deepEqual(serialsOf(await show(cell.controlPlane)), before);
  });

  test('goes on signing when the leader is cut off, which serves on', async () => {
    const relay = stack.use(await startTcpRelay(Number(new URL(server.url).port)));
    const kubernetes = join(server.directory, 'relayed.kubeconfig');
    const kubeconfig = await readFile(server.kubeconfig, 'utf8');
    await writeFile(kubernetes, kubeconfig.replace(server.url, `https://127.0.0.1:${relay.port}`), { mode: 0o600 });
    await using third = await startReplica('third', { kubernetes });
    await cell.stopControlPlane();
    await second[Symbol.asyncDispose]();
    await eventually(async () => assert.ok(await leads(third)));
    await cell.startControlPlane();
    const before = serialsOf(await show(third));
    relay.cut();
    await eventually(async () => assert.ok(await leads(cell.controlPlane)), 40_000);
    assert.equal(await leads(third), false);
    await using fourth = await startReplica('fourth');
    assert.deepEqual(serialsOf(await show(fourth)), before);
    assert.deepEqual(serialsOf(await show(third)), before);
  });

  test('lets a new replica wait while nobody leads that could sign, and says so', async () => {
    const health = await freePort();
    await cell.stopControlPlane();
    const holdLease = { holderIdentity: 'somebody', leaseDurationSeconds: 3_600 };
    await server.send('PATCH', lease, { spec: holdLease });
    const starting = startReplica('fifth', { health });
    await eventually(async () => {
      const { status, body } = await callHttp({ port: health, path: '/readyz' });
      assert.equal(status, 503);
      assert.match(
        body,
        /the intermediate of this replica is not signed|has not signed the intermediate of this replica/,
      );
    }, 10_000);
    await server.send('PATCH', lease, { spec: { holderIdentity: '', leaseDurationSeconds: 1 } });
    await using fifth = await starting;
    await eventually(async () => assert.ok(await leads(fifth)));
  });
});
