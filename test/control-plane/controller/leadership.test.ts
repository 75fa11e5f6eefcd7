import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Leadership } from '#control-plane/controller/leadership.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { leases } from '#kubernetes/resources-lease.ts';
import { type Clock, systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { createNamespace } from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { logLines } from '../../support/log-lines.ts';

type Client = Pick<KubernetesClient, 'get' | 'list' | 'watch' | 'create' | 'replace'>;

const programs = kubernetesPrograms();
describe('leadership, against an API server', { skip: 'skip' in programs && programs.skip }, () => {
  let server: KubernetesServer;
  let namespaces = 0;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
  });
  after(() => server[Symbol.asyncDispose]());

  async function freshNamespace(): Promise<string> {
    const namespace = `n-${++namespaces}`;
    await createNamespace(server, namespace);
    return namespace;
  }

  function replicaOf(
    namespace: string,
    replica: string,
    { clock = systemClock, client = server.client }: { clock?: Clock; client?: Client } = {},
  ): Leadership {
    return new Leadership({ client, namespace, replica, clock, random: systemRandom, logger: logLines().logger });
  }

  const leaseOf = (namespace: string) => server.client.get(leases, { namespace, name: 'cellmesh-control-plane' });

  /** Calls go through, and are noted, until it is `cut`. */
  function link(): { readonly client: Client; readonly calls: string[]; isCut: boolean } {
    const made = { calls: [] as string[], isCut: false, client: server.client as Client };
    made.client = new Proxy(server.client, {
      get: (target, name: keyof Client) => {
        made.calls.push(name);
        if (made.isCut) throw new Error('cut off');
        return target[name].bind(target);
      },
    });
    return made;
  }

  test('is of one of several that begin at once, and stays there', async () => {
    const namespace = await freshNamespace();
    await using all = new AsyncDisposableStack();
    const replicas = ['a', 'b', 'c'].map((name) => all.use(replicaOf(namespace, name)));
    const leaders = () => replicas.filter(({ current }) => current).length;
    let most = 0;
    const count = () => {
      most = Math.max(most, leaders());
    };
    for (const one of replicas) one.subscribe(count);
    await eventually(() => assert.equal(leaders(), 1));
    const { holder, durationMs, transitions } = await leaseOf(namespace);
    assert.deepEqual([durationMs, transitions], [15_000, 0]);
    assert.equal(replicas['abc'.indexOf(holder)]?.current, true);
    assert.equal(most, 1);
  });

  test('goes over within a second when it is released, and what the first had begun is told to end before', async () => {
    const namespace = await freshNamespace();
    const first = replicaOf(namespace, 'a');
    await eventually(() => assert.ok(first.current));
    const { client, calls } = link();
    await using second = replicaOf(namespace, 'b', { client });
    const { term } = first;
    assert.equal(term?.aborted, false);
    await eventually(() => assert.ok(calls.includes('watch')));
    const order: string[] = [];
    term?.addEventListener('abort', () => order.push('ended'));
    second.subscribe(() => order.push('begun'));
    const begun = performance.now();
    await first[Symbol.asyncDispose]();
    await eventually(() => assert.ok(second.current), 5_000, 1);
    assert.ok(performance.now() - begun < 1_000, `${performance.now() - begun} ms`);
    assert.deepEqual(order, ['ended', 'begun']);
    assert.equal(first.term, undefined);
    assert.equal((await leaseOf(namespace)).transitions, 1);
  });

  test('is lost after ten seconds without renewal, and is not taken before fifteen', async () => {
    const namespace = await freshNamespace();
    const wire = link();
    const clocks = { first: new FakeClock(), second: new FakeClock(Date.UTC(2001, 0, 1)) };
    await using first = replicaOf(namespace, 'a', { clock: clocks.first, client: wire.client });
    await clocks.first.advance(1_000);
    await eventually(() => assert.ok(first.current));
    const other = link();
    await using second = replicaOf(namespace, 'b', { clock: clocks.second, client: other.client });
    await eventually(() => assert.ok(other.calls.includes('watch')));
    wire.isCut = true;
    await clocks.first.advance(8_900);
    assert.ok(first.current);
    const { term } = first;
    await clocks.first.advance(1_100);
    assert.ok(!first.current);
    assert.ok(term?.aborted);
    await clocks.second.advance(14_000);
    // Whatever it has asked is answered by then, and followed by what it does next.
    for (let round = 0; round < 3; round++) assert.equal((await leaseOf(namespace)).holder, 'a');
    assert.ok(!other.calls.includes('replace'), 'it does not try');
    assert.ok(!second.current);
    await eventually(async () => {
      await clocks.second.advance(500);
      assert.ok(second.current);
    });
    wire.isCut = false;
    await clocks.first.advance(2_000);
    assert.ok(!first.current, 'it was given to another meanwhile');
    assert.equal((await leaseOf(namespace)).holder, 'b');
  });

  test('is renewed while the server answers, and outlives a Lease that somebody deletes', async () => {
    const namespace = await freshNamespace();
    const clock = new FakeClock();
    await using replica = replicaOf(namespace, 'a', { clock });
    await clock.advance(1_000);
    await eventually(() => assert.ok(replica.current));
    const { resourceVersion } = await leaseOf(namespace);
    await clock.advance(2_000);
    await eventually(async () => assert.notEqual((await leaseOf(namespace)).resourceVersion, resourceVersion));
    const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/cellmesh-control-plane`;
    await server.send('DELETE', path);
    await eventually(async () => {
      await clock.advance(100);
      assert.equal((await leaseOf(namespace)).holder, 'a');
    });
    assert.ok(replica.current);
  });

  test('ends when another has the Lease, by whatever mistake', async () => {
    const namespace = await freshNamespace();
    await using replica = replicaOf(namespace, 'a');
    await eventually(() => assert.ok(replica.current));
    const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/cellmesh-control-plane`;
    await server.send('PATCH', path, { spec: { holderIdentity: 'z' } });
    await eventually(() => assert.ok(!replica.current));
    assert.equal((await leaseOf(namespace)).holder, 'z');
  });
});
