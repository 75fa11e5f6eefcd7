import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ChainAnswer } from '../support/messaging-application.ts';
import { account } from '../support/mint-test-token.ts';
import { startMesh } from '../support/start-mesh.ts';

describe("a customer's call through three services", () => {
  test('reaches the last one; every hop is verified, narrowed and told to the application', async () => {
    await using mesh = await startMesh();
    const token = await mesh.mint();
    const response = await mesh.callAsRouter({ token, method: 'POST', body: 'hello' });
    assert.equal(response.status, 200, response.body);
    const answer = JSON.parse(response.body) as ChainAnswer;
    const messaging = answer.next as ChainAnswer;
    const delivery = messaging.next as ChainAnswer;
    assert.deepEqual(
      [answer, messaging, delivery].map(({ caller, scope, account }) => ({ caller, scope, account })),
      [
        { caller: 'spiffe://cellmesh.localhost/router/local/router-1', scope: 'messages:read messages:write', account },
        { caller: mesh.services.api.id, scope: 'messages:read messages:write', account },
        { caller: mesh.services.messaging.id, scope: 'messages:write', account },
      ],
    );
    const [received] = mesh.services.delivery.application.received;
    assert.equal(received?.body, 'hello');
  });
});
