import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Reason } from '#policy/reasons.ts';
import { activePolicy } from '#sidecar/active-policy.ts';
import { KeySet } from '#tokens/key-set.ts';
import { generateSigningKey } from '#tokens/signing-key.ts';
import { eventually } from '../../support/eventually.ts';
import { router } from '../../support/mint-test-token.ts';
import { type Mesh, startMesh } from '../../support/start-mesh.ts';

/* PAINS.md P16: what is missing or broken is a refusal with a reason, and what was remembered under other keys or another policy is forgotten. */

/** One call of `api` to `messaging` with a token; it would pass. */
async function ask(mesh: Mesh, token: string, path = '/v1/messages'): Promise<200 | Reason> {
  const { messaging, api } = mesh.services;
  const before = messaging.application.received.length;
  const headers = { 'cellmesh-token': token, 'cellmesh-left': '1 messages:read' };
  const answer = await mesh.callAs(api.id, 'messaging', { path, headers });
  const id = answer.headers['cellmesh-decision'];
  const record = await eventually(() => messaging.records.find((one) => one.id === id) ?? assert.fail());
  assert.equal(messaging.application.received.length - before, answer.status === 200 ? 1 : 0);
  assert.equal(record.outcome, answer.status === 200 ? 'permit' : 'deny');
  return answer.status === 200 ? 200 : (JSON.parse(answer.body) as { reason: Reason }).reason;
}

describe('GHSA-9g5w-hqr3-w2ph (Envoy): no failure allows', () => {
  test('without a policy', async () => {
    await using mesh = await startMesh();
    const token = await mesh.mint();
    assert.equal(await ask(mesh, token), 200);
    mesh.services.messaging.policy.set(undefined);
    assert.equal(await ask(mesh, token), 'policy_missing');
  });

  test('without recent word of the control plane', async () => {
    let isStale = false;
    await using mesh = await startMesh({ isStale: () => isStale });
    const token = await mesh.mint();
    assert.equal(await ask(mesh, token), 200);
    isStale = true;
    assert.equal(await ask(mesh, token), 'state_stale');
  });

  test('without keys, whether the token was seen before or not', async () => {
    await using mesh = await startMesh();
    const token = await mesh.mint();
    assert.equal(await ask(mesh, token), 200);
    mesh.keySet.set(KeySet.empty);
    assert.equal(await ask(mesh, token), 'token_issuer');
    assert.equal(await ask(mesh, await mesh.mint()), 'token_issuer');
  });

  test('when deciding itself fails', async () => {
    await using mesh = await startMesh();
    const token = await mesh.mint();
    const { policy } = mesh.services.messaging;
    const sound = policy.current!;
    const broken = Object.create(sound.inbound, { decide: { value: () => assert.fail('a mistake of ours') } });
    policy.set({ ...sound, inbound: broken });
    assert.equal(await ask(mesh, token), 'internal');
    policy.set(sound);
    assert.equal(await ask(mesh, token), 200);
  });

  test('GO-2022-0895 (Consul): a manifest without a rule, or whose rules are about other methods, allows nothing', async () => {
    await using mesh = await startMesh();
    const token = await mesh.mint();
    const { policy } = mesh.services.messaging;
    const { snapshot } = policy.current!;
    const withRules = (rules: typeof snapshot.rules) => policy.set(activePolicy({ ...snapshot, rules }));
    withRules([]);
    assert.equal(await ask(mesh, token), 'route_not_allowed');
    withRules(snapshot.rules.filter(({ methods }) => !methods?.includes('GET')));
    assert.equal(await ask(mesh, token), 'route_not_allowed');
    withRules(snapshot.rules);
    assert.equal(await ask(mesh, token), 200);
  });
});

describe('CVE-2026-33496 (Oathkeeper): what is remembered of a token', () => {
  test('is of its issuer and key: the same key id of another issuer is another key', async () => {
    await using mesh = await startMesh();
    const { published } = mesh.signingKey;
    const theirs = generateSigningKey({ iss: 'https://other.example', kind: 'service', owner: router });
    const sameName = { ...theirs, published: { ...theirs.published, kid: published.kid } };
    mesh.keySet.set(new KeySet([published, sameName.published]));
    const ours = await mesh.mint({ id: 'one' });
    const forged = await mesh.mint({ id: 'one', key: sameName });
    const asOurs = await mesh.mint({
      id: 'one',
      key: { ...sameName, published: { ...sameName.published, iss: published.iss } },
    });
    for (let round = 0; round < 3; round++) {
      assert.equal(await ask(mesh, ours), 200);
      assert.equal(await ask(mesh, forged), 'token_type');
      assert.equal(await ask(mesh, asOurs), 'token_signature');
    }
  });

  test('is of one version of the keys: gone with the key, and back with it', async () => {
    await using mesh = await startMesh();
    const other = generateSigningKey({ iss: mesh.signingKey.published.iss, kind: 'cell', owner: router });
    const token = await mesh.mint();
    assert.equal(await ask(mesh, token), 200);
    mesh.keySet.set(new KeySet([other.published]));
    assert.equal(await ask(mesh, token), 'token_key_unknown');
    mesh.keySet.set(new KeySet([other.published, mesh.signingKey.published]));
    assert.equal(await ask(mesh, token), 200);
  });

  test('says nothing about a decision: another policy decides the next request', async () => {
    await using mesh = await startMesh();
    const token = await mesh.mint();
    assert.equal(await ask(mesh, token), 200);
    const { policy } = mesh.services.messaging;
    const { snapshot } = policy.current!;
    policy.set(activePolicy({ ...snapshot, callers: snapshot.callers.map((caller) => ({ ...caller, carry: [] })) }));
    assert.equal(await ask(mesh, token), 'scope_not_carried');
  });
});
