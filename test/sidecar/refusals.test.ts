import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { routerId } from '#certs/reserved-ids.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { explain } from '#policy/explain/explain-record.ts';
import { parseCellId } from '#tokens/cell-id.ts';
import { generateSigningKey } from '#tokens/signing-key.ts';
import type { HttpResponse } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import type { ServiceName } from '../support/messaging-application.ts';
import { router, type TokenChange } from '../support/mint-test-token.ts';
import { type Mesh, startMesh } from '../support/start-mesh.ts';

const otherAccount = `AC${'f'.repeat(32)}`;
let mesh: Mesh;

before(async () => {
  mesh = await startMesh();
});
after(() => mesh[Symbol.asyncDispose]());

function receivedBy(service: ServiceName): number {
  return mesh.services[service].application.received.length;
}

/** The answer is a refusal with `reason` and an id; the id leads to a record that says why; the answer itself does not. */
async function assertRefused(response: HttpResponse, status: number, reason: string): Promise<DecisionRecord> {
  assert.equal(response.status, status, response.body);
  const body = JSON.parse(response.body) as { reason: string; decision: string };
  assert.deepEqual(Object.keys(body), ['reason', 'decision']);
  assert.equal(body.reason, reason);
  assert.equal(response.headers['cellmesh-decision'], body.decision);
  if (status === 401) assert.match(String(response.headers['www-authenticate']), /^Bearer realm="cellmesh"/);
  for (const name of Object.keys(response.headers))
    assert.ok(!name.startsWith('cellmesh-') || name === 'cellmesh-decision' || name === 'cellmesh-cell-hint', name);
  const records = Object.values(mesh.services).flatMap(({ records }) => records);
  const record = await eventually(() => {
    const found = records.find(({ id }) => id === body.decision) ?? lastRecord(body.decision);
    assert.ok(found);
    return found;
  });
  assert.equal(record.reason, reason);
  assert.equal(record.outcome, 'deny');
  assert.equal(record.status, status);
  assert.match(explain(record), new RegExp(`DENIED with ${status} ${reason}`));
  return record;
}

function lastRecord(id: string): DecisionRecord | undefined {
  return Object.values(mesh.services)
    .flatMap(({ records }) => records)
    .find((record) => record.id === id);
}

/** Makes a handle at `service` for the token given, as a request that it is serving would, and returns the context to send along. */
async function contextAt(service: 'api', change: TokenChange = {}): Promise<string> {
  const token = await mesh.mint(change);
  const before = receivedBy(service);
  const response = await mesh.callAsRouter({ token, path: '/v1/local' });
  assert.equal(response.status, 200, response.body);
  return String(mesh.services[service].application.received[before]?.headers['cellmesh-context']);
}

describe('a request into the cell is refused', () => {
  test('without a token', async () => {
    const record = await assertRefused(await mesh.callAsRouter({}), 401, 'token_missing');
    assert.equal(record.failed?.rule, 'read');
  });

  const inSeconds = (seconds: number) => Date.now() + seconds * 1000;
  const tokens: Record<string, { change: () => TokenChange; status: number; reason: string }> = {
    'an expired token': {
      change: () => ({ issuedAt: inSeconds(-400), expiresAt: inSeconds(-100) }),
      status: 401,
      reason: 'token_expired',
    },
    'a token from the future': {
      change: () => ({ issuedAt: inSeconds(100), expiresAt: inSeconds(300) }),
      status: 401,
      reason: 'token_not_yet_valid',
    },
    'a token of an unknown issuer': {
      change: () => ({ key: generateSigningKey({ iss: 'https://evil.example', kind: 'cell', owner: router }) }),
      status: 401,
      reason: 'token_issuer',
    },
    'a token signed with an unknown key': {
      change: () => ({
        key: generateSigningKey({ iss: 'https://identity.cellmesh.localhost', kind: 'cell', owner: router }),
      }),
      status: 401,
      reason: 'token_key_unknown',
    },
    'a token with the right key id and a wrong signature': {
      change: () => {
        const other = generateSigningKey({ iss: 'https://identity.cellmesh.localhost', kind: 'cell', owner: router });
        return { key: { ...other, published: { ...other.published, kid: mesh.signingKey.published.kid } } };
      },
      status: 401,
      reason: 'token_signature',
    },
    'a token that another client got': {
      change: () => ({ clientId: routerId(parseTrustDomain('cellmesh.localhost'), 'local', 'router-2') }),
      status: 401,
      reason: 'token_entry',
    },
    'a token without the scope of the route': {
      change: () => ({ scope: 'messages:write' }),
      status: 403,
      reason: 'scope_missing',
    },
    'a token that lives too long': {
      change: () => ({ expiresAt: inSeconds(3600) }),
      status: 401,
      reason: 'token_claims',
    },
  };
  for (const [name, { change, status, reason }] of Object.entries(tokens)) {
    test(`with ${name}`, async () => {
      const before = receivedBy('api');
      const response = await mesh.callAsRouter({ token: await mesh.mint(change()) });
      await assertRefused(response, status, reason);
      assert.equal(receivedBy('api'), before);
    });
  }

  test("with another cell's token: 421 and a hint, which a router alone is given", async () => {
    const aud = 'cell-2.cellmesh.localhost';
    for (const change of [{ aud }, { cellId: parseCellId('cell-2') }, { aud, cellId: parseCellId('cell-2') }]) {
      const token = await mesh.mint(change);
      const response = await mesh.callAsRouter({ token });
      await assertRefused(response, 421, 'wrong_cell');
      assert.equal(response.headers['cellmesh-cell-hint'], 'this=cell-1');
      const asPeer = await mesh.callAs(mesh.services.api.id, 'messaging', {
        path: '/v1/messages',
        headers: { 'cellmesh-token': token, 'cellmesh-left': '1 messages:read' },
      });
      await assertRefused(asPeer, 401, 'aud' in change ? 'token_audience' : 'token_cell');
      assert.equal(asPeer.headers['cellmesh-cell-hint'], undefined);
    }
  });

  const malformed: Record<string, string> = {
    'text that is no token': 'hello',
    'a token of alg none': `${b64({ alg: 'none', typ: 'at+jwt', kid: 'x' })}.${b64({ iss: 'x' })}.`,
    'a token that is too large': `${'a'.repeat(2000)}.${'b'.repeat(2000)}.${'c'.repeat(2000)}`,
  };
  for (const [name, token] of Object.entries(malformed)) {
    test(`with ${name}`, async () => {
      const response = await mesh.callAsRouter({ token });
      assert.equal(response.status, 401);
      await assertRefused(response, 401, JSON.parse(response.body).reason);
    });
  }

  test('with two tokens', async () => {
    const token = await mesh.mint();
    const headers = { 'cellmesh-token': [token, token] };
    await assertRefused(await mesh.callAsRouter({ headers }), 400, 'field_malformed');
  });

  test('on a path that no rule names, with a method that none allows, for a host that is not its own', async () => {
    const token = await mesh.mint();
    await assertRefused(await mesh.callAsRouter({ token, path: '/admin' }), 403, 'route_not_allowed');
    await assertRefused(await mesh.callAsRouter({ token, method: 'DELETE' }), 403, 'route_not_allowed');
    await assertRefused(await mesh.callAsRouter({ token, authority: 'other:80' }), 421, 'host_unknown');
    await assertRefused(await mesh.callAsRouter({ token, authority: 'api:1' }), 421, 'host_unknown');
  });

  const paths = [
    '/v1/../admin',
    '/v1/%2e%2e/admin',
    '/v1%2fmessages',
    '/v1/messages;x=1',
    '/v1//messages',
    '/v1/%',
    '/v1\\messages',
    '/v1/%00',
  ];
  for (const path of paths) {
    test(`for ${path}, which has more than one reading`, async () => {
      const before = receivedBy('api');
      const token = await mesh.mint();
      const response = await mesh.callAsRouter({ token, path });
      assert.equal(response.status, 400, response.body);
      await assertRefused(response, 400, JSON.parse(response.body).reason);
      assert.equal(receivedBy('api'), before);
    });
  }
});

describe('a captured token', () => {
  test('is of no use to a workload that no rule names', async () => {
    const before = receivedBy('messaging');
    const headers = { 'cellmesh-token': await mesh.mint(), 'cellmesh-left': '1 messages:read messages:write' };
    const response = await mesh.callAs(mesh.services.delivery.id, 'messaging', { path: '/v1/messages', headers });
    const record = await assertRefused(response, 403, 'peer_not_allowed');
    assert.equal(record.peer, mesh.services.delivery.id);
    assert.equal(record.failed?.rule, 'read');
    assert.equal(receivedBy('messaging'), before);
  });

  test('does not enter through a workload in place of its router', async () => {
    const headers = { 'cellmesh-token': await mesh.mint(), 'cellmesh-left': '1 messages:read' };
    const response = await mesh.callAs(mesh.services.messaging.id, 'api', { path: '/v1/messages', headers });
    await assertRefused(response, 403, 'peer_not_allowed');
  });

  test('does not enter through another router', async () => {
    const other = routerId(parseTrustDomain('cellmesh.localhost'), 'local', 'router-2');
    const headers = { 'cellmesh-token': await mesh.mint() };
    const response = await mesh.callAs(other, 'api', { path: '/v1/messages', headers });
    await assertRefused(response, 401, 'token_entry');
  });

  test('comes with the word of the hop before or not at all', async () => {
    const call = async (left?: string) => {
      const headers = { 'cellmesh-token': await mesh.mint(), ...(left !== undefined && { 'cellmesh-left': left }) };
      return mesh.callAs(mesh.services.api.id, 'messaging', { path: '/v1/messages', headers });
    };
    await assertRefused(await call(), 401, 'hop_missing');
    await assertRefused(await call('2 messages:read'), 400, 'hop_malformed');
    assert.equal((await call('1 messages:read')).status, 200);
  });

  test('cannot be widened by the word of a hop: token, left and carry all have to hold', async () => {
    const call = async (scope: string, left: string, path = '/v1/messages', method = 'GET') => {
      const headers = { 'cellmesh-token': await mesh.mint({ scope }), 'cellmesh-left': left };
      return mesh.callAs(mesh.services.api.id, 'messaging', { path, method, headers });
    };
    await assertRefused(await call('messages:write', '1 messages:read messages:write'), 403, 'scope_missing');
    await assertRefused(await call('messages:read messages:write', '1 messages:write'), 403, 'scope_not_carried');
    const bill = await call('billing:write', '1 billing:write', '/v1/bill', 'POST');
    await assertRefused(bill, 403, 'scope_not_carried');
  });
});

describe('a call of an application is refused', () => {
  test('when it does not say on whose behalf it is made', async () => {
    const response = await mesh.services.api.call({ authority: 'messaging', path: '/v1/messages' });
    await assertRefused(response, 403, 'context_missing');
  });

  test('when its handle is unknown, wherever it is written', async () => {
    const unknown = 'f'.repeat(32);
    for (const headers of [
      { 'cellmesh-context': unknown },
      { tracestate: `a=1,cellmesh=${unknown}` },
      { 'cellmesh-context': 'x' },
    ]) {
      const response = await mesh.services.api.call({ authority: 'messaging', path: '/v1/messages', headers });
      await assertRefused(response, 403, 'context_unknown');
    }
  });

  test("when its handle is another sidecar's", async () => {
    const context = await contextAt('api');
    const response = await mesh.services.messaging.call({
      authority: 'delivery',
      path: '/v1/deliveries',
      headers: { 'cellmesh-context': context },
    });
    await assertRefused(response, 403, 'context_unknown');
  });

  test('when the account is not the one that it expects', async () => {
    const before = receivedBy('messaging');
    const headers = { 'cellmesh-context': await contextAt('api'), 'cellmesh-expect-account': otherAccount };
    const response = await mesh.services.api.call({ authority: 'messaging', path: '/v1/messages', headers });
    await assertRefused(response, 403, 'account_mismatch');
    assert.equal(receivedBy('messaging'), before);
  });

  test('on a sensitive route, when it does not say which account it expects', async () => {
    const context = await contextAt('api');
    const call = (headers: Record<string, string>) =>
      mesh.services.api.call({
        authority: 'messaging',
        path: '/v1/export',
        headers: { 'cellmesh-context': context, ...headers },
      });
    await assertRefused(await call({}), 403, 'account_not_expected');
    assert.equal((await call({ 'cellmesh-expect-account': 'AC0123456789abcdef0123456789abcdef' })).status, 200);
  });

  test('for a host that its manifest does not declare', async () => {
    for (const authority of ['delivery', 'example.com', 'messaging:1', '127.0.0.1:22', '169.254.169.254']) {
      const response = await mesh.services.api.call({ authority, path: '/' });
      await assertRefused(response, 403, 'not_declared');
    }
  });

  test('when a field that chooses its rights comes twice or has no meaning', async () => {
    const context = await contextAt('api');
    const wrong: Record<string, string | string[]>[] = [
      { 'cellmesh-context': [context, context] },
      { 'cellmesh-as': 'root' },
      { 'cellmesh-expect-account': 'me' },
    ];
    for (const headers of wrong) {
      const response = await mesh.services.api.call({ authority: 'messaging', path: '/v1/messages', headers });
      await assertRefused(response, 400, 'field_malformed');
    }
  });

  test('by the callee, when the scope may not be carried to it; the id is the callee’s', async () => {
    const context = await contextAt('api', { scope: 'messages:read billing:write' });
    const response = await mesh.services.api.call({
      authority: 'messaging',
      method: 'POST',
      path: '/v1/bill',
      headers: { 'cellmesh-context': context },
    });
    const record = await assertRefused(response, 403, 'scope_not_carried');
    assert.equal(record.instance, 'messaging-test');
    assert.equal(record.direction, 'inbound');
  });

  test('by the callee, when the workload calls for itself without the scope as its own', async () => {
    const call = (path: string, method: string) =>
      mesh.services.api.call({ authority: 'messaging', path, method, headers: { 'cellmesh-as': 'self' } });
    await assertRefused(await call('/v1/messages', 'GET'), 401, 'token_missing');
    assert.equal((await call('/v1/expire', 'POST')).status, 200);
  });
});

describe('what an application says about itself', () => {
  test('is not believed: fields of the mesh from an application or a peer reach nobody', async () => {
    const forged = {
      'cellmesh-account': otherAccount,
      'cellmesh-scope': 'everything:all',
      'cellmesh-caller': 'spiffe://evil/x',
      'cellmesh-left': '1 messages:write',
      'cellmesh-token': 'forged',
      'cellmesh-new-thing': 'forged',
      'x-forwarded-client-cert': 'forged',
    };
    const before = receivedBy('messaging');
    const headers = { ...forged, 'cellmesh-context': await contextAt('api') };
    const response = await mesh.services.api.call({ authority: 'messaging', path: '/v1/messages', headers });
    assert.equal(response.status, 200, response.body);
    const received = mesh.services.messaging.application.received[before]!;
    assert.equal(received.headers['cellmesh-account'], 'AC0123456789abcdef0123456789abcdef');
    assert.equal(received.headers['cellmesh-caller'], mesh.services.api.id);
    assert.equal(received.headers['cellmesh-scope'], 'messages:read messages:write');
    for (const name of ['cellmesh-token', 'cellmesh-left', 'cellmesh-new-thing', 'x-forwarded-client-cert']) {
      assert.equal(received.headers[name], undefined, name);
    }
  });

  test('tokens, handles and keys are in no record and no access log', async () => {
    const token = await mesh.mint();
    const context = await contextAt('api');
    await mesh.callAsRouter({ token, method: 'POST', body: 'secret-body' });
    await eventually(() => assert.ok(mesh.services.api.accessLines.length > 0));
    const text = Object.values(mesh.services)
      .flatMap(({ records, accessLines }) => [JSON.stringify(records), ...accessLines])
      .join('\n');
    for (const secret of [token, token.split('.')[2]!, context, 'secret-body']) assert.ok(!text.includes(secret));
  });
});

function b64(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
