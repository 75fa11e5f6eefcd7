import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { ClusterPods } from '#control-plane/controller/cluster-pods.ts';
import type { Endpoint } from '#net/endpoints.ts';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { eventually } from '../../support/eventually.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { createNamespace, createServiceAccount, setPodStatus } from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { logLines } from '../../support/log-lines.ts';

const trustDomain = parseTrustDomain('cell-1.example');
const [api, web] = ['api', 'web'].map((name) => workloadId(trustDomain, 'shop', name));
const node = '10.0.0.1';
const registeredAt = (port: number): Endpoint => ({ host: node, port, locality: '', weight: 100 });

const programs = kubernetesPrograms();
describe('instances of services in a cluster', { skip: 'skip' in programs && programs.skip }, () => {
  let server: KubernetesServer;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
    await createNamespace(server, 'shop');
    await createServiceAccount(server, 'shop', 'web');
  });
  after(() => server[Symbol.asyncDispose]());

  test('an instance that has registered is the pod at the same address and port, and no other', async () => {
    const ports = [{ name: 'cellmesh-mtls', containerPort: 15001 }];
    await server.send('POST', '/api/v1/namespaces/shop/pods', {
      metadata: { name: 'web-1' },
      spec: {
        ...{ serviceAccountName: 'web', nodeName: 'node-1' },
        initContainers: [{ name: 'cellmesh-sidecar', image: 'none', restartPolicy: 'Always', ports }],
        containers: [{ name: 'main', image: 'none' }],
      },
    });
    const place = (isReady: boolean) =>
      setPodStatus(server, { namespace: 'shop', name: 'web-1' }, { address: node, isReady });
    await place(false);
    const events: unknown[] = [];
    await using pods = new ClusterPods({
      ...{ client: server.client, trustDomain, clock: systemClock, random: systemRandom, logger: logLines().logger },
      onChanged: (changed) => events.push(changed),
      onCounted: () => {},
      onListed: () => {},
    });
    await eventually(() => assert.deepEqual(pods.endpointsOf(web!, []), []));
    assert.deepEqual(pods.endpointsOf(web!, [registeredAt(15001)]), [], 'the pod, which is not ready');
    assert.deepEqual(pods.endpointsOf(api!, [registeredAt(15002)]), [registeredAt(15002)]);

    await place(true);
    const own = { host: node, port: 15001, locality: '', weight: 1 };
    await eventually(() => assert.deepEqual(pods.endpointsOf(web!, [registeredAt(15001)]), [own]));
    assert.deepEqual(events.at(-1), { service: web });
    assert.deepEqual(pods.endpointsOf(api!, [registeredAt(15002)]), [registeredAt(15002)]);
    assert.deepEqual(pods.endpointsOf(web!, [registeredAt(15002)]), [own, registeredAt(15002)]);
  });
});
