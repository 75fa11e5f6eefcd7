import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { JoinTokenRejected, JoinTokens } from '#certs/join-token.ts';
import { parseSpiffeId } from '#certs/spiffe-id.ts';
import { clusterJoinTokenStore } from '#control-plane/controller/join-token-store-cluster.ts';
import { clusterJoinedByToken } from '#control-plane/controller/joined-by-token-cluster.ts';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { joinTokenStoreContract } from '../../certs/join-token-store-contract.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { createNamespace } from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';

const id = parseSpiffeId('spiffe://cell-1.example.com/ns/messaging/sa/api');

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

  test('who joined by a token at one replica is known to the others', async () => {
    const options = await shared();
    const [first, second] = [clusterJoinedByToken(options), clusterJoinedByToken(options)];
    assert.equal(await second.has(id), false);
    await first.add(id);
    await second.add(id);
    assert.equal(await second.has(id), true);
  });
});
