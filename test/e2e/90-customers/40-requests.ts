import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { type Answer, type Echo, rolledOut } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** An account and a key by the command; then a customer's requests through the router to a pod, and what is refused on the way. */
export const step: Step = async (scenario) => {
  const { cellmesh, cellId } = scenario.mesh;
  await rolledOut(scenario, 'server');
  await scenario.kubectl('wait', '--for=condition=Ready', 'pod/customer', '--timeout=60s');
  const account = firstOf(await cellmesh('accounts', 'create', 'Shop', '--cell', cellId, '--kube', '--json'));
  const accountId = String(account['accountId']);
  const key = firstOf(await cellmesh('keys', 'create', accountId, '--scopes', 'messages:read', '--kube', '--json'));
  const credentials = `${accountId}:${key['secret']}`;
  const call = async (...args: readonly string[]) => {
    const exec = ['exec', 'pod/customer', '-c', 'app', '--', 'node', '/apps/customer.mjs', ...args];
    return JSON.parse(await scenario.kubectl(...exec)) as Answer;
  };

  const answer = await eventually(
    async () => {
      const one = await call('GET', '/messages/1', credentials);
      assert.equal(one.status, 200, JSON.stringify(one));
      return one;
    },
    30_000,
    500,
  );
  const { headers } = JSON.parse(answer.body) as Echo;
  assert.equal(headers['cellmesh-account'], accountId);
  assert.equal(headers['cellmesh-scope'], 'messages:read');
  // Neither the customer's secret nor a token reaches the application.
  assert.equal(headers['authorization'], undefined);
  assert.doesNotMatch(answer.body, /eyJ/);

  const refused = await Promise.all([
    call('GET', '/messages/1'),
    call('GET', '/messages/1', `${accountId}:cmk1_wrong`),
    call('POST', '/messages', credentials),
    call('GET', '/elsewhere', credentials),
  ]);
  assert.deepEqual(
    refused.map(({ status }) => status),
    [401, 401, 403, 403],
    JSON.stringify(refused),
  );
  const decision = refused[2]!.headers['cellmesh-decision']!;
  const explanation = await eventually(() => scenario.mesh.explain(decision), 15_000, 500);
  assert.match(explanation, /scope_missing/);
  assert.match(explanation, new RegExp(accountId));
};

function firstOf(said: string): Readonly<Record<string, unknown>> {
  const value = JSON.parse(said) as unknown;
  return (Array.isArray(value) ? value[0] : value) as Readonly<Record<string, unknown>>;
}
