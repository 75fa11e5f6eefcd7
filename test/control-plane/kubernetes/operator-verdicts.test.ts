import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { KubernetesOperators } from '#kubernetes/operators.ts';
import type { Resource } from '#kubernetes/resources.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { silentLogger } from '#runtime/logger.ts';
import { Secret } from '#runtime/secret.ts';

const user = {
  username: 'ann',
  uid: 'u-1',
  groups: ['operators', 'system:authenticated'],
  extra: { scopes: ['a', 'b'], 'example.com/team': ['c'] },
};
const good = { authenticated: true, audiences: ['cellmesh'], user };

/** Asks by what an API server answers, though none of today's would. */
async function ask(token: unknown, access: unknown = { status: { allowed: true } }) {
  const asked: object[] = [];
  const client = {
    review: async <T>(resource: Resource<T>, spec: object): Promise<T> => {
      asked.push(spec);
      if (token instanceof Error) throw token;
      return resource.read(resource.kind === 'TokenReview' ? token : access);
    },
  };
  const operators = new KubernetesOperators({ client, audience: 'cellmesh', clock: systemClock, logger: silentLogger });
  return { verdict: await operators.authorize(new Secret('a.b.c'), 'keys.revoke'), asked };
}

describe('the verdicts of an API server about an operator', () => {
  test('let them in when both are good; the second is about all that the first says of them, in no namespace', async () => {
    const { verdict, asked } = await ask({ status: good });
    assert.deepEqual(verdict, { isAllowed: true, name: 'ann' });
    const { username, ...others } = user;
    assert.deepEqual(asked, [
      { token: 'a.b.c', audiences: ['cellmesh'] },
      {
        user: username,
        ...others,
        resourceAttributes: { group: 'cellmesh.io', resource: 'keys', verb: 'revoke' },
      },
    ]);
  });

  const strangers: Readonly<Record<string, unknown>> = {
    'without a status': {},
    'that is no map': 'yes',
    'that is not quite true': { status: { ...good, authenticated: 'true' } },
    'without audiences, of a server that knows none': { status: { ...good, audiences: undefined } },
    'with another audience': { status: { ...good, audiences: ['vault', 'cellmesh2'] } },
    'about nobody': { status: { ...good, user: { uid: 'u-1' } } },
    'with an error beside it': { status: { authenticated: false, audiences: ['cellmesh'], error: 'expired', user } },
  };
  for (const [which, answer] of Object.entries(strangers)) {
    test(`let nobody in by a first one ${which}, and ask nothing more`, async () => {
      const { verdict, asked } = await ask(answer);
      assert.ok(!verdict.isAllowed);
      assert.match(verdict.reason, /does not take the token for the audience cellmesh/);
      assert.equal(asked.length, 1);
    });
  }

  const refusals: Readonly<Record<string, unknown>> = {
    'without a status': {},
    'that is not quite true': { status: { allowed: 'true' } },
    'that says no': { status: { allowed: false, reason: 'no role' } },
    'that says both': { status: { allowed: true, denied: true } },
  };
  for (const [which, answer] of Object.entries(refusals)) {
    test(`let nobody do anything by a second one ${which}`, async () => {
      const { verdict } = await ask({ status: good }, answer);
      assert.ok(!verdict.isAllowed);
      assert.match(verdict.reason, /^ann may not revoke keys\.cellmesh\.io; .* verbs: \[revoke\] }$/);
    });
  }

  test('are none when it does not answer: then it may later', async () => {
    const failed = ask(new Error('ECONNREFUSED'));
    await assert.rejects(failed, (error) => isCellmeshError(error, 'rpc_unavailable') && error.retryable);
  });
});
