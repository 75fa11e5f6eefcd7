import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { JoinTokenRejected, JoinTokens } from '#certs/join-token.ts';
import { parseSpiffeId } from '#certs/spiffe-id.ts';
import { ClusterPseudonyms } from '#control-plane/controller/account-pseudonyms-cluster.ts';
import { clusterJoinTokenStore } from '#control-plane/controller/join-token-store-cluster.ts';
import { clusterJoinedByToken } from '#control-plane/controller/joined-by-token-cluster.ts';
import { secrets } from '#kubernetes/resources-secret.ts';
import { systemClock } from '#runtime/clock.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { joinTokenStoreContract } from '../../certs/join-token-store-contract.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { createNamespace } from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';

const id = parseSpiffeId('spiffe://cell-1.example.com/ns/messaging/sa/api');

const account = `AC${'0123456789abcdef'.repeat(2)}`;
const hidden = { decisionAccounts: 'hmac' as const, decisionsAgeMax: 24 * 3600_000 };

const programs = kubernetesPrograms();
describe('state that replicas share', { skip: 'skip' in programs && programs.skip }, () => {
  let server: KubernetesServer;
  let namespaces = 0;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
  });
  after(() => server[Symbol.asyncDispose]());

  /** As many as there are replicas, of one namespace. */
  async function shared() {
    const namespace = `n-${++namespaces}`;
    await createNamespace(server, namespace);
    return { client: server.client, namespace, clock: systemClock, random: systemRandom };
  }

  joinTokenStoreContract('in a cluster', async () => clusterJoinTokenStore(await shared()));

  test('a join token that one replica created is taken by one of several that are shown it at once', async () => {
    const options = await shared();
    const replicas = Array.from({ length: 5 }, () => {
      return new JoinTokens({ store: clusterJoinTokenStore(options), clock: systemClock, random: systemRandom });
    });
    const { token } = await replicas[0]!.create({ id });
    const shown = await Promise.allSettled(replicas.map((replica) => replica.redeem(token.reveal())));
    const taken = shown.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    assert.deepEqual(taken, [id]);
    for (const one of shown)
      if (one.status === 'rejected')
        assert.ok(one.reason instanceof JoinTokenRejected && one.reason.reason === 'used', String(one.reason));
  });

  test('replicas that create tokens at once lose none', async () => {
    const options = await shared();
    const replicas = Array.from({ length: 4 }, () => clusterJoinTokenStore(options));
    const records = Array.from({ length: 12 }, (_, index) => {
      return { hash: String(index).padStart(64, '0'), id, createdAt: 1, expiresAt: 2 };
    });
    await Promise.all(records.map((record, index) => replicas[index % 4]!.insert(record)));
    assert.equal(await replicas[0]!.count(), 12);
  });

  test('an account has one name at all replicas, whoever made the key, and they have the next one together', async () => {
    const options = { ...(await shared()), ...hidden, logger: silentLogger };
    const replicas = await Promise.all(Array.from({ length: 4 }, () => ClusterPseudonyms.open(options)));
    const names = new Set(replicas.map((one) => one.hide(account)));
    assert.equal(names.size, 1, [...names].join());
    assert.match([...names][0]!, /^hmac-1-[0-9a-f]{32}$/);
    for (const one of replicas) one[Symbol.dispose]();
  });

  test('a key of accounts is replaced in its time, and goes with the last decision that any replica may have under it', async () => {
    const clock = new FakeClock();
    const { client, namespace, random } = await shared();
    const options = { client, namespace, random, clock, ...hidden, logger: silentLogger };
    using first = await ClusterPseudonyms.open(options);
    using second = await ClusterPseudonyms.open(options);
    const before = first.hide(account);
    assert.equal(second.hide(account), before);
    const sequences = async () => {
      const found = await client.get(secrets, { namespace, name: 'cellmesh-account-key' });
      return JSON.parse(found.valueOf('document')!.reveal()).map((key: { sequence: number }) => key.sequence);
    };
    await clock.advance(hidden.decisionsAgeMax);
    await eventually(async () => {
      // Whoever was second to write waits for its turn by this clock.
      await clock.advance(50);
      assert.match(first.hide(account), /^hmac-2-/);
      assert.equal(second.hide(account), first.hide(account));
    });
    assert.deepEqual(await sequences(), [1, 2]);
    await clock.advance(hidden.decisionsAgeMax + 60_000);
    await eventually(async () => {
      await clock.advance(1_000);
      assert.deepEqual(await sequences(), [2, 3]);
    });
    using plain = await ClusterPseudonyms.open({ ...options, decisionAccounts: 'plain' });
    assert.equal(plain.hide(account), account);
    for (const one of [first, second]) one[Symbol.dispose]();
    await eventually(async () => {
      await clock.advance(hidden.decisionsAgeMax);
      assert.deepEqual(await sequences(), []);
    });
  });

  test('who joined by a token at one replica is known to the others', async () => {
    const options = await shared();
    const [first, second] = [clusterJoinedByToken(options), clusterJoinedByToken(options)];
    assert.equal(await second.has(id), false);
    await first.add(id);
    await second.add(id);
    assert.equal(await second.has(id), true);
  });
});
