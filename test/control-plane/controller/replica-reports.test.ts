import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { serializeBundleProgress } from '#control-plane/controller/replica-report.ts';
import { ReplicaReports } from '#control-plane/controller/replica-reports.ts';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { eventually } from '../../support/eventually.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { createNamespace } from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { logLines } from '../../support/log-lines.ts';

const programs = kubernetesPrograms();
describe('who has not heard of a bundle', { skip: 'skip' in programs && programs.skip }, () => {
  let server: KubernetesServer;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
    await createNamespace(server, 'cellmesh');
  });
  after(() => server[Symbol.asyncDispose]());

  /** A replica that hands out the bundle with this sequence. */
  function replica(name: string, said: { sequence: number; behind: readonly string[] }) {
    return new ReplicaReports({
      ...{ client: server.client, namespace: 'cellmesh', replica: name },
      ...{ clock: systemClock, random: systemRandom, logger: logLines().logger },
      own: () => new Map(),
      ownBundles: () => serializeBundleProgress(said.sequence, said.behind),
      onChange: () => {},
    });
  }

  test('is each replica that hands out an older one, and each sidecar of another replica that has not taken it', async () => {
    const said = { sequence: 1, behind: [] as string[] };
    await using leader = replica('leader', { sequence: 2, behind: ['its own, which it knows better'] });
    assert.deepEqual(leader.listeners(2), [{ name: 'the other replicas, which are not known yet' }]);
    await using other = replica('other', said);
    const names = () => leader.listeners(2).map(({ name }) => name);
    await eventually(() => assert.deepEqual(names(), ['cellmesh-replica-other']));

    Object.assign(said, { sequence: 2, behind: ['spiffe://cell-1.example.com/ns/shop/sa/web (web-1)'] });
    other.ownChanged();
    await eventually(() => assert.deepEqual(names(), said.behind));

    said.behind = Array.from({ length: 300 }, (_, index) => `sidecar-${index}`);
    other.ownChanged();
    await eventually(() => {
      assert.equal(names().length, 21);
      assert.equal(names().at(-1), '280 more at cellmesh-replica-other');
    });

    said.behind = [];
    other.ownChanged();
    await eventually(() => assert.deepEqual(names(), []));
    assert.deepEqual(leader.listeners(3), [{ name: 'cellmesh-replica-other' }]);
  });

  test('is a replica whose report says nothing of bundles, until its pod and the report have gone', async () => {
    const path = '/api/v1/namespaces/cellmesh/configmaps';
    await server.send('DELETE', `${path}/cellmesh-replica-other`);
    const metadata = { name: 'cellmesh-replica-strange', labels: { 'cellmesh.io/replica-report': 'true' } };
    await server.send('POST', path, { metadata, data: { report: '{}', bundles: 'nonsense' } });
    await using leader = replica('leader', { sequence: 2, behind: [] });
    await eventually(() => assert.deepEqual(leader.listeners(0), [{ name: 'cellmesh-replica-strange' }]));
    await server.send('DELETE', `${path}/cellmesh-replica-strange`);
    await eventually(() => assert.deepEqual(leader.listeners(0), []));
  });
});
