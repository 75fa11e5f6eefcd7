import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { serializeTrustBundle } from '#certs/trust-bundle.ts';
import { BundleWriter } from '#control-plane/controller/bundle-writer.ts';
import { Leadership } from '#control-plane/controller/leadership.ts';
import { configMaps } from '#kubernetes/resources-config-map.ts';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { WatchSource } from '#runtime/watch.ts';
import { eventually } from '../../support/eventually.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { createNamespace } from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { logLines } from '../../support/log-lines.ts';
import { testAuthority } from '../../support/test-authority.ts';

const name = 'cellmesh-trust-bundle';
const programs = kubernetesPrograms();
describe('the trust bundle in a cluster', { skip: 'skip' in programs && programs.skip }, () => {
  let server: KubernetesServer;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
    for (const one of ['cellmesh', 'shop', 'mail', 'others']) await createNamespace(server, one);
  });
  after(() => server[Symbol.asyncDispose]());

  const label = (namespace: string, value: string | null) =>
    server.send('PATCH', `/api/v1/namespaces/${namespace}`, { metadata: { labels: { 'cellmesh.io/inject': value } } });
  const textIn = async (namespace: string) =>
    (await server.client.get(configMaps, { namespace, name })).data['trust-bundle.json'];

  test('lies in the own namespace and in those that are opted in, and is kept as it should be', async () => {
    const [{ authority: first }, { authority: second }] = [
      await testAuthority(systemClock),
      await testAuthority(systemClock),
    ];
    const bundle = new WatchSource(first.bundle.current);
    const common = { client: server.client, clock: systemClock, random: systemRandom, logger: logLines().logger };
    await using leadership = new Leadership({ ...common, namespace: 'cellmesh', replica: 'a' });
    await using _writer = new BundleWriter({ ...common, leadership, namespace: 'cellmesh', bundle });
    await server.send('POST', '/api/v1/namespaces/others/configmaps', {
      metadata: { name },
      data: { 'trust-bundle.json': 'theirs' },
    });
    await label('shop', 'enabled');
    const text = serializeTrustBundle(bundle.current);
    for (const namespace of ['cellmesh', 'shop'])
      await eventually(async () => assert.equal(await textIn(namespace), text));
    await assert.rejects(textIn('mail'), { status: 404 });

    await label('mail', 'enabled');
    await eventually(async () => assert.equal(await textIn('mail'), text));
    await label('mail', null);
    await server.send('PATCH', `/api/v1/namespaces/shop/configmaps/${name}`, {
      data: { 'trust-bundle.json': 'other' },
    });
    await eventually(async () => assert.equal(await textIn('shop'), text));
    await server.send('DELETE', `/api/v1/namespaces/shop/configmaps/${name}`);
    await eventually(async () => assert.equal(await textIn('shop'), text));

    bundle.set(second.bundle.current);
    const next = serializeTrustBundle(second.bundle.current);
    assert.notEqual(next, text);
    for (const namespace of ['cellmesh', 'shop', 'mail'])
      await eventually(async () => assert.equal(await textIn(namespace), next, namespace));
    assert.equal(await textIn('others'), 'theirs');
    await label('others', 'enabled');
    await eventually(async () => assert.equal(await textIn('others'), next));
  });
});
