import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type KubernetesClient, pageItemsMax } from '#kubernetes/client.ts';
import { Informer } from '#kubernetes/informer.ts';
import { type Pod, pods } from '#kubernetes/resources.ts';
import { sleep, systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { createNamespace, createPod, deletePod, setPodStatus } from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { logLines } from '../../support/log-lines.ts';

interface Followed extends AsyncDisposable {
  readonly informer: Informer<Pod>;
  /** Names by key, as whoever listens knows them. */
  readonly known: ReadonlyMap<string, Pod>;
  readonly lines: ReturnType<typeof logLines>;
  readonly lists: () => number;
}

type Client = Pick<KubernetesClient, 'list' | 'watch'>;

function follow(client: Client, namespace: string, limits: { objectsMax?: number; resyncMs?: number } = {}): Followed {
  const known = new Map<string, Pod>();
  const lines = logLines();
  let lists = 0;
  const counting: Client = {
    list(...args) {
      lists++;
      return client.list(...args);
    },
    watch: (...args) => client.watch(...args),
  };
  const informer = new Informer({
    client: counting,
    resource: pods,
    selection: { namespace },
    keyOf: ({ name }) => name,
    onChange(now, gone) {
      assert.deepEqual(known.get((now ?? gone)!.name), gone, 'what is said to be before is what was said before');
      if (now === undefined) known.delete(gone!.name);
      else known.set(now.name, now);
    },
    clock: systemClock,
    random: systemRandom,
    logger: lines.logger,
    ...limits,
  });
  return { informer, known, lines, lists: () => lists, [Symbol.asyncDispose]: () => informer[Symbol.asyncDispose]() };
}

const programs = kubernetesPrograms();
describe('an informer, against an API server', { skip: 'skip' in programs && programs.skip }, () => {
  let server: KubernetesServer;
  let namespaces = 0;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
  });
  after(() => server[Symbol.asyncDispose]());

  async function freshNamespace(...names: readonly string[]): Promise<string> {
    const namespace = `n-${++namespaces}`;
    await createNamespace(server, namespace);
    for (const name of names) await createPod(server, { namespace, name }, { serviceAccount: 'web' });
    return namespace;
  }

  const keys = ({ known }: Followed) => [...known.keys()].sort();

  test('knows what there was, and follows what comes, changes and goes', async () => {
    const namespace = await freshNamespace('a', 'b');
    await using followed = follow(server.client, namespace);
    assert.equal(followed.informer.ageMs, Number.POSITIVE_INFINITY);
    await eventually(() => assert.deepEqual(keys(followed), ['a', 'b']));
    assert.ok(followed.informer.ageMs < 10_000);
    await createPod(server, { namespace, name: 'c' }, { serviceAccount: 'web' });
    await setPodStatus(server, { namespace, name: 'a' }, { address: '10.1.1.1' });
    await deletePod(server, namespace, 'b');
    await eventually(() => {
      assert.deepEqual(keys(followed), ['a', 'c']);
      assert.deepEqual(followed.known.get('a')?.addresses, ['10.1.1.1']);
    });
    assert.equal(followed.informer.size, 2);
    assert.equal(followed.lists(), 1);
  });

  test('goes on after the server was started anew, without what has gone meanwhile', async () => {
    const namespace = await freshNamespace('a', 'b');
    await using followed = follow(server.client, namespace);
    await eventually(() => assert.deepEqual(keys(followed), ['a', 'b']));
    await server.stop();
    await eventually(() => assert.ok(followed.lines.with('the API server is not followed').length > 0));
    assert.deepEqual(keys(followed), ['a', 'b'], 'what is known stays');
    await server.start();
    await deletePod(server, namespace, 'a');
    await createPod(server, { namespace, name: 'c' }, { serviceAccount: 'web' });
    await eventually(() => assert.deepEqual(keys(followed), ['b', 'c']), 20_000);
  });

  test('lists anew when the server has forgotten where it was', async () => {
    const namespace = await freshNamespace('a', 'b');
    // A proxy that holds the watch back: what happens behind it is compacted before it may go on.
    let isHeld = false;
    const held: Client = {
      list: (...args) => server.client.list(...args),
      async *watch(resource, from, signal) {
        for await (const event of server.client.watch(resource, from, signal)) {
          if (isHeld) throw new Error('cut off');
          yield event;
        }
      },
    };
    await using followed = follow(held, namespace);
    await eventually(() => assert.deepEqual(keys(followed), ['a', 'b']));
    isHeld = true;
    await deletePod(server, namespace, 'a');
    await createPod(server, { namespace, name: 'c' }, { serviceAccount: 'web' });
    await eventually(() => assert.ok(followed.lines.with('cut off').length > 0));
    assert.deepEqual(keys(followed), ['a', 'b']);
    await server.compact();
    await server.stop();
    await server.start();
    isHeld = false;
    await eventually(() => assert.deepEqual(keys(followed), ['b', 'c']), 30_000);
    assert.ok(followed.lists() >= 2, 'by a list: the watch could not tell');
  });

  test('lists now and then, so that what a watch has lost is known in the end', async () => {
    const namespace = await freshNamespace('a');
    const lossy: Client = {
      list: (...args) => server.client.list(...args),
      async *watch(resource, from, signal) {
        for await (const event of server.client.watch(resource, from, signal))
          if (event.type === 'bookmark') yield event;
      },
    };
    await using followed = follow(lossy, namespace, { resyncMs: 300 });
    await eventually(() => assert.deepEqual(keys(followed), ['a']));
    await createPod(server, { namespace, name: 'b' }, { serviceAccount: 'web' });
    await deletePod(server, namespace, 'a');
    await eventually(() => assert.deepEqual(keys(followed), ['b']));
    assert.deepEqual(followed.lines.with('not followed'), []);
  });

  test('holds no more than it may, and says so: what is known ages', async () => {
    const namespace = await freshNamespace('a', 'b');
    await using followed = follow(server.client, namespace, { objectsMax: 2 });
    await eventually(() => assert.deepEqual(keys(followed), ['a', 'b']));
    await createPod(server, { namespace, name: 'c' }, { serviceAccount: 'web' });
    await eventually(() => assert.ok(followed.lines.with('more than 2 pods').length > 1));
    assert.deepEqual(keys(followed), ['a', 'b']);
    await deletePod(server, namespace, 'a');
    await using second = follow(server.client, namespace, { objectsMax: 1 });
    await eventually(() => assert.ok(second.lines.with('more than 1 pods').length > 0));
    assert.deepEqual([second.informer.size, second.informer.ageMs], [0, Number.POSITIVE_INFINITY]);
  });

  test('ends at once, whatever it waits for', async () => {
    const followed = follow(server.client, await freshNamespace('a'));
    await eventually(() => assert.deepEqual(keys(followed), ['a']));
    await followed[Symbol.asyncDispose]();
    const starting = follow(server.client, await freshNamespace());
    await starting[Symbol.asyncDispose]();
    assert.deepEqual(starting.lines.all, []);
  });

  test('lists all pages', async () => {
    const namespace = await freshNamespace();
    const names = Array.from({ length: pageItemsMax + 5 }, (_, index) => `p-${String(index).padStart(4, '0')}`);
    for (const name of names) {
      const spec = { containers: [{ name: 'main', image: 'none' }] };
      await server.client.apply(pods, { namespace, name }, { spec }, { fieldManager: 'test' });
    }
    await using followed = follow(server.client, namespace);
    await eventually(() => assert.deepEqual(keys(followed), names));
  });
});

test('an informer hears of the server by each watch that ends in time, and asks for the next one with a pause', async () => {
  const clock = new FakeClock();
  let watches = 0;
  const quiet: Client = {
    async *list() {
      yield { items: [], resourceVersion: '7' };
    },
    async *watch(_, { resourceVersion }, signal) {
      assert.equal(resourceVersion, '7');
      watches++;
      await sleep(clock, 1_000, signal);
      yield* [];
    },
  };
  const { logger } = logLines();
  const given = { client: quiet, resource: pods, keyOf: () => '', onChange() {}, clock, random: systemRandom, logger };
  await using informer = new Informer(given);
  await clock.advance(60_000);
  assert.ok(informer.ageMs < 1_500, String(informer.ageMs));
  assert.ok(watches > 45 && watches < 60, String(watches));
});
