import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { parseTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { BundleConfigMap } from '#kubernetes/bundle-config-map.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { configMaps } from '#kubernetes/resources-config-map.ts';
import { systemClock } from '#runtime/clock.ts';
import { WatchSource } from '#runtime/watch.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { createNamespace } from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { logLines } from '../../support/log-lines.ts';
import { testAuthority } from '../../support/test-authority.ts';

const namespace = 'mesh';
const name = 'roots';
const path = `/api/v1/namespaces/${namespace}/configmaps/${name}`;

const programs = kubernetesPrograms();
describe('a ConfigMap with a trust bundle', { skip: 'skip' in programs && programs.skip }, () => {
  const lines = logLines();
  const clock = new FakeClock();
  let server: KubernetesServer;
  let bundle: WatchSource<TrustBundle>;
  let written: BundleConfigMap;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
    bundle = new WatchSource((await testAuthority(systemClock)).authority.bundle.current);
    written = new BundleConfigMap({
      ...{ client: server.client, namespace, name, fieldManager: 'test', bundle, clock, logger: lines.logger },
    });
  });
  after(async () => {
    await written[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const sequence = async () => {
    const { data } = await server.client.get(configMaps, { namespace, name });
    return parseTrustBundle(data['trust-bundle.json'] ?? '', bundle.current.trustDomain).sequence;
  };
  const revise = (sequence: number) => bundle.set({ ...bundle.current, sequence });

  test('is tried for until it is there, and said to be missing once', async () => {
    const warnings = () => lines.with('the trust bundle is not published').length;
    await eventually(() => assert.equal(warnings(), 1));
    await createNamespace(server, namespace);
    await eventually(async () => {
      await clock.advance(60_000);
      assert.equal(await sequence(), bundle.current.sequence);
    });
    assert.equal(warnings(), 1);
    await eventually(() => assert.equal(lines.with('the trust bundle is published again').length, 1));
  });

  test('follows its bundle at once', async () => {
    revise(4_000_000_000);
    await eventually(async () => assert.equal(await sequence(), 4_000_000_000));
  });

  test('is put right in ten minutes when somebody changes or deletes it, who keeps what is theirs', async () => {
    await server.send('PATCH', path, { data: { 'trust-bundle.json': '{}', other: 'theirs' } });
    await eventually(async () => {
      await clock.advance(10 * 60_000);
      assert.equal(await sequence(), 4_000_000_000);
    });
    assert.equal((await server.client.get(configMaps, { namespace, name })).data['other'], 'theirs');
    await server.send('DELETE', path);
    await eventually(async () => {
      await clock.advance(10 * 60_000);
      assert.equal(await sequence(), 4_000_000_000);
    });
  });

  test('is left alone once it is nobody’s', async () => {
    await written[Symbol.asyncDispose]();
    revise(4_000_000_001);
    await server.send('DELETE', path);
    await clock.advance(3600_000);
    const gone = server.client.get(configMaps, { namespace, name });
    await assert.rejects(gone, (error) => error instanceof KubernetesError && error.isNotFound);
  });
});
