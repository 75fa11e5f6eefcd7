import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { RuleEnds } from '#sidecar/rule-ends.ts';
import { parseAccountId } from '#tokens/account-id.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { account } from '../support/mint-test-token.ts';
import { type Mesh, startMesh } from '../support/start-mesh.ts';

const isElsewhere = process.platform !== 'linux' && 'only Linux spreads connections over threads';

/** The API's rule `read` says more. */
const reading = (more: string) => (text: string) =>
  text.replace('{ name: read, from: [router], ', `{ name: read, from: [router], ${more}, `);

async function lastRecord({ services }: Mesh, decision: string | undefined): Promise<DecisionRecord> {
  return eventually(() => {
    const record = services.api.records.find(({ id }) => id === decision);
    assert.ok(record !== undefined);
    return record;
  });
}

async function read(mesh: Mesh, claims: Record<string, unknown> = {}, change = {}) {
  const response = await mesh.callAsRouter({ token: await mesh.mint({ claims, ...change }) });
  const record = await lastRecord(mesh, response.headers['cellmesh-decision'] as string);
  return { status: response.status, reason: record.reason, record, response };
}

describe('a sidecar', () => {
  test('holds claims of the token against its rules, and records those and no others', async () => {
    await using mesh = await startMesh({
      editManifests: reading('claims: [{ pointer: /plan, equals: gold }, { pointer: /roles, as: list, in: [a, b] }]'),
    });
    const good = await read(mesh, { plan: 'gold', roles: ['b'], secret: 'not asked for' });
    assert.deepEqual([good.status, good.record.rule], [200, 'read']);
    assert.deepEqual(good.record.claims?.values, { '/plan': ['gold'], '/roles': [['b']] });
    assert.doesNotMatch(JSON.stringify(good.record), /not asked for/);
    const bad = await read(mesh, { plan: 'free' });
    assert.deepEqual([bad.status, bad.reason, bad.record.failed?.condition], [403, 'claim_not_allowed', 'claims']);
    assert.deepEqual(bad.record.claims?.values, { '/plan': ['free'], '/roles': [] });
  });

  test('asks who acts for the customer, the outermost actor alone', async () => {
    await using mesh = await startMesh({ editManifests: reading('actor: [bot-1]') });
    const by = (sub: string, before?: string) => read(mesh, { act: { sub, ...(before && { act: { sub: before } }) } });
    assert.equal((await by('bot-1')).status, 200);
    assert.equal((await by('bot-2', 'bot-1')).reason, 'actor_not_allowed');
    assert.equal((await read(mesh)).reason, 'actor_not_allowed');
    const malformed = await read(mesh, { act: 'bot-1' });
    assert.deepEqual([malformed.status, malformed.reason], [401, 'token_claims']);
  });

  for (const workers of [1, 2]) {
    test(`counts a limit by customer, with ${workers} thread${workers === 1 ? '' : 's'}: 429 and when to come again`, {
      skip: workers > 1 && isElsewhere,
    }, async () => {
      // Slow enough that nothing is earned while this runs.
      const editManifests = reading('limits: [{ per: account, perSecond: 0.01, burst: 8 }]');
      await using mesh = await startMesh({ editManifests, workers });
      const answers = await Promise.all(Array.from({ length: 12 }, () => read(mesh)));
      const statuses = answers.map(({ status }) => status);
      assert.equal(statuses.filter((status) => status === 429).length, 4);
      assert.equal(statuses.filter((status) => status === 200).length, 8);
      const limited = answers.find(({ status }) => status === 429)!;
      assert.deepEqual([limited.reason, limited.record.failed?.rule], ['limit_reached', 'read']);
      const seconds = Number(limited.response.headers['retry-after']);
      assert.ok(seconds > 60 && seconds <= 400, `${seconds}`);
      const other = parseAccountId(account.replace(/^AC0/, 'AC1'));
      assert.equal((await read(mesh, {}, { account: other })).status, 200, 'another customer has a budget of its own');
    });
  }

  test('writes down what a candidate says, and follows it for the accounts of its share', async () => {
    const candidate = (percent: number) => (text: string) => {
      const api = text
        .split('\n---\n')[0]!
        .replace('mode: enforce', `mode: enforce\n  rollout: { percent: ${percent}, newlyDeniedMax: 1% }`);
      return `${text}\n---\n${api.replace('name: read, from: [router]', 'name: read, from: [messaging/messaging]')}`;
    };
    await using beside = await startMesh({ editManifests: candidate(0) });
    const tried = await read(beside);
    assert.equal(tried.status, 200);
    const { version, ...verdict } = tried.record.candidate!;
    assert.match(version, /^[0-9a-f]{12}$/);
    assert.deepEqual(verdict, { isInForce: false, before: 'permit', outcome: 'deny', reason: 'peer_not_allowed' });
    await using inForce = await startMesh({ editManifests: candidate(100) });
    const denied = await read(inForce);
    assert.deepEqual(
      [denied.status, denied.reason, denied.record.candidate?.isInForce],
      [403, 'peer_not_allowed', true],
    );
  });
});

describe('the end of a rule', () => {
  test('is told when it comes, one after the other, and not for a policy that is gone', async () => {
    const clock = new FakeClock();
    let told = 0;
    using ends = new RuleEnds(clock, () => told++);
    const rule = (untilMs?: number) => ({ ...(untilMs && { untilMs }) });
    const policy = (...rules: object[]) => ({ rules }) as unknown as Parameters<RuleEnds['watch']>[0];
    const day = 24 * 3600_000;
    const now = clock.now();
    ends.watch(policy(rule(now + 3 * day), rule(now + 1_000), rule()));
    await clock.advance(999);
    assert.equal(told, 0);
    await clock.advance(1);
    assert.equal(told, 1);
    await clock.advance(3 * day);
    assert.equal(told, 2);
    ends.watch(policy(rule(clock.now() + 10)));
    ends.watch(undefined);
    await clock.advance(100);
    assert.equal(told, 2);
  });
});
