import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { KubernetesClient, pageItemsMax } from '#kubernetes/client.ts';
import { readClusterAccess } from '#kubernetes/cluster-access.ts';
import { textAt, valueAt } from '#kubernetes/json.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { pods, type Resource } from '#kubernetes/resources.ts';
import type { WatchEvent } from '#kubernetes/watch-events.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { systemRandom } from '#runtime/random.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import {
  createNamespace,
  createPod,
  createServiceAccount,
  createToken,
  deletePod,
  setPodStatus,
} from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';

interface ConfigMap {
  readonly name: string;
  readonly data: unknown;
}

const configMaps: Resource<ConfigMap> = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
  isNamespaced: true,
  read: (object) => ({ name: textAt(object, 'metadata', 'name') ?? '', data: valueAt(object, 'data') }),
};

const refused = (status: number, reason: string) => (error: unknown) =>
  error instanceof KubernetesError && error.status === status && error.reason === reason;

async function listed<T>(client: KubernetesClient, resource: Resource<T>, namespace: string) {
  const items: T[] = [];
  let pages = 0;
  let resourceVersion = '';
  for await (const page of client.list(resource, { namespace })) {
    items.push(...page.items);
    pages++;
    resourceVersion = page.resourceVersion;
  }
  return { items, pages, resourceVersion };
}

const programs = kubernetesPrograms();
describe('the Kubernetes client, against an API server', { skip: 'skip' in programs && programs.skip }, () => {
  let server: KubernetesServer;
  let client: KubernetesClient;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
    client = server.client;
    await createNamespace(server, 'shop');
  });
  after(() => server[Symbol.asyncDispose]());

  test('reads an object, and says what is not there by status and reason', async () => {
    const uid = await createPod(
      server,
      { namespace: 'shop', name: 'web' },
      { serviceAccount: 'web', address: '10.1.2.3' },
    );
    assert.deepEqual(await client.get(pods, { namespace: 'shop', name: 'web' }), {
      namespace: 'shop',
      name: 'web',
      uid,
      serviceAccount: 'web',
      node: 'node-1',
      addresses: ['10.1.2.3'],
      isReady: true,
      hasEnded: false,
      isTerminating: false,
      allowsDefaultServiceAccount: false,
      sidecarPort: undefined,
      zone: '',
    });
    await assert.rejects(client.get(pods, { namespace: 'shop', name: 'gone' }), refused(404, 'NotFound'));
  });

  for (const name of ['../secrets/root', 'a/b', 'a?x=y', 'a%2fb', '..', '']) {
    test(`asks for no object whose name is ${JSON.stringify(name)}`, async () => {
      await assert.rejects(client.get(pods, { namespace: 'shop', name }), (error) =>
        isCellmeshError(error, 'not_found'),
      );
      await assert.rejects(client.get(pods, { namespace: name, name: 'web' }), (error) =>
        isCellmeshError(error, 'not_found'),
      );
    });
  }

  test('lists page by page', async () => {
    await createNamespace(server, 'many');
    const names = Array.from({ length: pageItemsMax + 1 }, (_, index) => `c-${String(index).padStart(4, '0')}`);
    for (const name of names) await client.apply(configMaps, { namespace: 'many', name }, {}, { fieldManager: 'test' });
    const { items, pages } = await listed(client, configMaps, 'many');
    assert.equal(pages, 2);
    assert.deepEqual(
      items.map(({ name }) => name),
      names,
    );
  });

  test('applies fields, is told of conflicts, and takes fields by force', async () => {
    const name = { namespace: 'shop', name: 'applied' };
    const as = (fieldManager: string) => ({ fieldManager });
    await client.apply(configMaps, name, { data: { a: '1' } }, as('one'));
    await client.apply(configMaps, name, { data: { b: '2' } }, as('two'));
    await assert.rejects(
      client.apply(configMaps, name, { data: { a: '3' } }, as('two')),
      (error) => refused(409, 'Conflict')(error) && /"one"/.test((error as Error).message),
    );
    const { data } = await client.apply(configMaps, name, { data: { a: '3' } }, { fieldManager: 'two', force: true });
    assert.deepEqual(data, { a: '3' }, 'b was of two, which no longer names it');
  });

  test('applies a status without touching the rest', async () => {
    await createPod(server, { namespace: 'shop', name: 'status' }, { serviceAccount: 'web' });
    const status = { podIP: '10.9.9.9', podIPs: [{ ip: '10.9.9.9' }] };
    const name = { namespace: 'shop', name: 'status' };
    const pod = await client.apply(pods, name, { status }, { fieldManager: 'test', subresource: 'status' });
    assert.deepEqual([pod.addresses, pod.serviceAccount], [['10.9.9.9'], 'web']);
  });

  test('watches from where a list ended: every change, in order', async () => {
    await createNamespace(server, 'watched');
    const { resourceVersion } = await listed(client, pods, 'watched');
    const { signal } = new AbortController();
    const seen: WatchEvent<{ readonly name: string }>[] = [];
    const watching = (async () => {
      for await (const event of client.watch(pods, { namespace: 'watched', resourceVersion }, signal)) {
        seen.push(event);
        if (event.type === 'deleted') break;
      }
    })();
    await createPod(server, { namespace: 'watched', name: 'a' }, { serviceAccount: 'web' });
    await setPodStatus(server, { namespace: 'watched', name: 'a' }, { address: '10.1.1.1' });
    await deletePod(server, 'watched', 'a');
    await watching;
    assert.deepEqual(
      seen.map(({ type }) => type),
      ['changed', 'changed', 'changed', 'deleted'],
      'made, running, told to end, gone',
    );
  });

  test('is told that a version is too old to watch from', async () => {
    await server.compact();
    await server.stop();
    await server.start();
    const watch = client.watch(pods, { namespace: 'shop', resourceVersion: '1' }, new AbortController().signal);
    await assert.rejects(watch.next(), (error) => error instanceof KubernetesError && error.isExpired);
  });

  test('tries reads again while the server is being started anew', async () => {
    await server.stop();
    const reading = client.get(pods, { namespace: 'shop', name: 'web' });
    const [{ name }] = await Promise.all([reading, server.start()]).catch(async (error: unknown) => {
      // A start may take longer than a call has patience.
      assert.ok(isCellmeshError(error, 'kubernetes_unavailable'), String(error));
      return [await client.get(pods, { namespace: 'shop', name: 'web' })] as const;
    });
    assert.equal(name, 'web');
  });

  test('is refused what its token has no right to', async () => {
    await createServiceAccount(server, 'shop', 'nobody');
    const nobody = await server.clientAs(await createToken(server, { namespace: 'shop', name: 'nobody' }));
    await assert.rejects(nobody.get(pods, { namespace: 'shop', name: 'web' }), refused(403, 'Forbidden'));
    const stranger = await server.clientAs('stranger');
    await assert.rejects(stranger.get(pods, { namespace: 'shop', name: 'web' }), refused(401, 'Unauthorized'));
  });

  test('talks to no server whose certificate its authority has not issued', async () => {
    const access = await readClusterAccess(server.kubeconfig, {});
    const { authority: _, ...system } = access;
    await using careless = await KubernetesClient.open({ access: system, clock: systemClock, random: systemRandom });
    const refusal = await careless.get(pods, { namespace: 'shop', name: 'web' }).catch((error: unknown) => error);
    assert.ok(
      isCellmeshError(refusal, 'kubernetes_unavailable') && /certificate/.test(refusal.message),
      String(refusal),
    );
    await using misled = await KubernetesClient.open({
      access: { ...access, serverName: 'other.example.com' },
      clock: systemClock,
      random: systemRandom,
    });
    await assert.rejects(misled.get(pods, { namespace: 'shop', name: 'web' }), /other\.example\.com/);
  });
});
