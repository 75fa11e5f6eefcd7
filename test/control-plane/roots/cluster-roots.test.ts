import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { localSigner } from '#certs/root-signer-file.ts';
import { createRoot } from '#certs/roots.ts';
import { workloadId } from '#certs/spiffe-id.ts';
import { SecretRootStore } from '#control-plane/roots/root-store-secret.ts';
import { certificateRequests } from '#kubernetes/resources-certificate-request.ts';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { rootStoreContract } from '../../certs/root-store-contract.ts';
import { prepareControlPlane, type Replica, startReplica, trustDomain } from '../../support/cluster-replicas.ts';
import { eventually } from '../../support/eventually.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { createNamespace } from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';

const programs = kubernetesPrograms();
const id = workloadId(trustDomain, 'shop', 'web');
const serials = ({ roots }: Replica) => roots.bundle.current.roots.map(({ serial }) => serial);
const phases = ({ roots }: Replica) =>
  roots
    .status()
    .roots.map(({ phase }) => phase)
    .join('+');

describe('the roots that replicas share', { skip: 'skip' in programs && programs.skip }, () => {
  let server: KubernetesServer;
  let namespaces = 0;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
  });
  after(() => server[Symbol.asyncDispose]());

  async function newNamespace(): Promise<string> {
    const namespace = `cellmesh-${++namespaces}`;
    await prepareControlPlane(server, namespace);
    return namespace;
  }

  async function issues(replica: Replica): Promise<void> {
    using authority = await replica.authority();
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const { chainDer } = await authority.issue({ id, publicKey });
    assert.equal(chainDer.length, 2);
  }

  async function requestsLeft(): Promise<number> {
    let count = 0;
    for await (const { items } of server.client.list(certificateRequests)) count += items.length;
    return count;
  }

  rootStoreContract('in a Secret', async () => {
    const namespace = `stores-${++namespaces}`;
    await createNamespace(server, namespace);
    const store = () => new SecretRootStore({ client: server.client, namespace, trustDomain });
    return { stores: [store(), store()], async [Symbol.asyncDispose]() {} };
  });

  test('a leader makes the root, every replica knows it, and each gets its intermediate at once', async () => {
    const namespace = await newNamespace();
    await using first = await startReplica(server, { namespace, name: 'a' });
    await using second = await startReplica(server, { namespace, name: 'b' });
    assert.match(second.roots.problem!, /no replica leads/);
    const begun = performance.now();
    first.leadership.begin();
    await Promise.all([issues(first), issues(second)]);
    assert.ok(performance.now() - begun < 5_000, `${performance.now() - begun} ms`);
    assert.equal(second.roots.problem, undefined);
    assert.deepEqual(serials(first), serials(second));
    assert.deepEqual([phases(first), phases(second)], ['active', 'active']);
    await eventually(async () => assert.equal(await requestsLeft(), 0, 'what was answered is deleted'));
    assert.equal(
      second.asked.some((one) => one.includes('secrets')),
      false,
      second.asked.join(),
    );
    assert.equal(
      first.asked.some((one) => one.includes('secrets')),
      true,
    );
  });

  test('a replica that is started anew finds the same root', async () => {
    const namespace = await newNamespace();
    const first = await startReplica(server, { namespace, name: 'a' });
    first.leadership.begin();
    await issues(first);
    const [serial] = serials(first);
    await first[Symbol.asyncDispose]();
    await using second = await startReplica(server, { namespace, name: 'b' });
    second.leadership.begin();
    await issues(second);
    assert.deepEqual(serials(second), [serial]);
  });

  test('two that believe to lead at once end up with one root', async () => {
    const namespace = await newNamespace();
    await using first = await startReplica(server, { namespace, name: 'a' });
    await using second = await startReplica(server, { namespace, name: 'b' });
    for (const { leadership } of [first, second]) leadership.begin();
    await Promise.all([issues(first), issues(second)]);
    assert.deepEqual(serials(first), serials(second));
  });

  test('when another replica leads it goes on signing, and the one of before has forgotten how', async () => {
    const namespace = await newNamespace();
    await using first = await startReplica(server, { namespace, name: 'a' });
    await using second = await startReplica(server, { namespace, name: 'b' });
    first.leadership.begin();
    await issues(second);
    // Whoever waits for it has it before the leader is told so.
    await eventually(() => assert.equal(first.lines.with('intermediate signed', '"pod":"b"').length, 1));
    first.leadership.end();
    const asked = first.asked.length;
    const waiting = issues(first);
    await eventually(async () => assert.equal(await requestsLeft(), 1));
    second.leadership.begin();
    await waiting;
    await issues(second);
    assert.equal(
      first.asked.slice(asked).some((one) => one.includes('secrets')),
      false,
    );
    assert.equal(second.lines.with('intermediate signed', '"pod":"a"').length, 1);
  });

  test("an operator's own root signs for all, is read by whoever leads, and is rotated by nobody", async () => {
    const namespace = await newNamespace();
    const options = { trustDomain, clock: systemClock, random: systemRandom };
    const { privateKey, certificate } = await createRoot(options, 'active');
    const read: string[] = [];
    const replica = (name: string) =>
      startReplica(
        server,
        { namespace, name },
        {
          async operatorRoot() {
            read.push(name);
            return localSigner(privateKey!, certificate);
          },
        },
      );
    await using first = await replica('a');
    await using second = await replica('b');
    first.leadership.begin();
    await Promise.all([issues(first), issues(second)]);
    assert.deepEqual(serials(second), [certificate.serial]);
    assert.deepEqual(read, ['a']);
    for (const { roots } of [first, second]) {
      await assert.rejects(roots.rotate(false), { code: 'rotation_refused', message: /its operator's/ });
    }
    for (const { asked } of [first, second])
      assert.equal(
        asked.some((one) => one.includes('secrets')),
        false,
      );
  });

  test("a rotation that another replica is asked for is the leader's to do, through a change of leaders in each phase", async () => {
    const namespace = await newNamespace();
    const drill = { svidLifetime: 60_000 };
    await using first = await startReplica(server, { namespace, name: 'a' }, drill);
    await using second = await startReplica(server, { namespace, name: 'b' }, drill);
    let isBehind = true;
    for (const { roots } of [first, second]) roots.follow(() => (isBehind ? [{ name: 'somebody' }] : []));
    first.leadership.begin();
    using authority = await second.authority();
    using other = await first.authority();
    const [before] = serials(first);
    await second.roots.rotate(false);
    await eventually(() => assert.equal(phases(second), 'active+published'));
    assert.deepEqual(second.roots.status().waits?.for, ['somebody']);
    assert.equal(serials(second).length, 2);

    first.leadership.end();
    assert.equal(phases(first), 'active+published', 'it still knows what was published');
    second.leadership.begin();
    isBehind = false;
    await eventually(() => assert.equal(phases(first), 'retiring+active'), 10_000);
    const [now] = serials(first);
    assert.notEqual(now, before);
    await eventually(() => {
      for (const one of [authority, other]) {
        const root = one.bundle.current.roots[0]!;
        assert.equal(root.serial, now);
        assert.ok(one.intermediate.isSignedBy(root.publicKey));
      }
    });

    second.leadership.end();
    first.leadership.begin();
    await issues(second);
    assert.deepEqual(new Set(serials(second)), new Set([now, before]));
    assert.deepEqual(serials(first), serials(second));
  });

  test('a request for a rotation that no leader was there for is done by the next one', async () => {
    const namespace = await newNamespace();
    await using first = await startReplica(server, { namespace, name: 'a' });
    await using second = await startReplica(server, { namespace, name: 'b' });
    first.leadership.begin();
    await issues(second);
    first.leadership.end();
    const asked = second.roots.rotate(false);
    await eventually(async () => {
      const { data } = await server.send('GET', `/api/v1/namespaces/${namespace}/configmaps/cellmesh-roots`);
      assert.ok('rotate.json' in (data as object));
    });
    first.leadership.begin();
    await asked;
    await eventually(() => assert.equal(phases(second).includes('active'), true));
    assert.equal(serials(second).length, 2);
  });

  test('a leader that cannot open the roots says why, and goes on when it can', async () => {
    const namespace = await newNamespace();
    const secret = `/api/v1/namespaces/${namespace}/secrets`;
    const stringData = { 'roots.json': 'my secret' };
    await server.send('POST', secret, { metadata: { name: 'cellmesh-root' }, stringData });
    await using replica = await startReplica(server, { namespace, name: 'a' });
    replica.leadership.begin();
    await eventually(() => assert.match(replica.roots.problem!, /cannot be opened: .*cellmesh-root.* it is not JSON/));
    assert.equal(JSON.stringify(replica.lines.all).includes('my secret'), false);
    await server.send('DELETE', `${secret}/cellmesh-root`);
    await issues(replica);
  });

  test('what is published does not go back, and what somebody else makes of it is put right', async () => {
    const namespace = await newNamespace();
    await using first = await startReplica(server, { namespace, name: 'a' });
    await using second = await startReplica(server, { namespace, name: 'b' });
    first.leadership.begin();
    await issues(second);
    const path = `/api/v1/namespaces/${namespace}/configmaps/cellmesh-roots`;
    const data = async () => (await server.send('GET', path))['data'] as Record<string, string>;
    const published = await data();
    const bundle = JSON.parse(published['trust-bundle.json']!);
    const seen = serials(second);
    let changes = 0;
    const unsubscribe = second.roots.bundle.subscribe(() => changes++);
    for (const text of ['nonsense', JSON.stringify({ ...bundle, spiffe_sequence: 1, keys: [] })]) {
      await server.send('PATCH', path, { data: { 'trust-bundle.json': text } });
      await eventually(async () => assert.deepEqual(await data(), published));
    }
    await server.send('DELETE', path);
    await eventually(async () => assert.deepEqual(await data(), published));
    unsubscribe();
    assert.equal(changes, 0);
    assert.deepEqual(serials(second), seen);
  });
});
