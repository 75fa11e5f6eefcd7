import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import type { HttpResponse } from '../support/application.ts';
import { eventually } from '../support/eventually.ts';
import { type Cell, startCell } from '../support/start-cell.ts';
import { type Customer, type Edge, startEdge } from '../support/start-edge.ts';

let cell: Cell;
let edge: Edge;
let customer: Customer;

before(async () => {
  cell = await startCell({
    handlers: {
      api: ({ headers }) => ({
        status: 200,
        headers: { 'cellmesh-account': 'forged', 'cellmesh-secret': 'x', 'x-app': 'kept' },
        body: JSON.stringify(headers),
      }),
    },
  });
  edge = await startEdge(cell);
  customer = await edge.customer(['messages:read']);
});
after(async () => {
  await edge?.[Symbol.asyncDispose]();
  await cell?.[Symbol.asyncDispose]();
});

function received(): number {
  return cell.services.api.application.received.length;
}

/** Status, code and id go to the customer; the router's record knows more, and nothing reaches the application. */
async function assertRefused(call: () => Promise<HttpResponse>, status: number, reason: string, why?: RegExp) {
  const before = received();
  const answer = await call();
  assert.equal(answer.status, status, answer.body);
  const body = JSON.parse(answer.body) as { reason: string; decision: string };
  assert.deepEqual(body, { reason, decision: answer.headers['cellmesh-decision'] });
  const record = await edge.decision(body.decision);
  assert.deepEqual([record.outcome, record.reason, record.status, record.direction], ['deny', reason, status, 'edge']);
  if (why !== undefined) assert.match(String(record.failed?.actual), why);
  assert.equal(received(), before);
  return answer;
}

describe('credentials', () => {
  test('are an account and a key of it, or the key and its own id', async () => {
    for (const user of [customer.accountId, customer.keyId]) {
      assert.equal((await edge.call({ user, secret: customer.secret })).status, 200);
    }
  });

  test('that are no use get one answer, and the record says why', async () => {
    const other = await edge.customer(['messages:read']);
    const changed = `${customer.secret.slice(0, -1)}${customer.secret.endsWith('0') ? '1' : '0'}`;
    const { accountId: user, secret } = customer;
    const texts = new Set<string>();
    for (const [credentials, why] of [
      [{ user, secret: 'wrong' }, /key_unknown/],
      [{ user, secret: changed }, /key_unknown/],
      [{ user, secret: other.secret }, /key_mismatch/],
      [{ user: `AC${'0'.repeat(32)}`, secret }, /key_mismatch/],
      [{ headers: { authorization: 'Basic !!!' } }, /credentials_malformed/],
      [{ headers: { authorization: `Bearer ${secret}` } }, /credentials_malformed/],
      [{ user, secret: 'x'.repeat(600) }, /credentials_malformed/],
    ] as const) {
      const answer = await assertRefused(() => edge.call(credentials), 401, 'credentials_rejected', why);
      texts.add(answer.body.replace(/"decision":"[^"]+"/, ''));
      assert.equal(answer.headers['www-authenticate'], 'Basic realm="cellmesh", charset="UTF-8"');
    }
    assert.equal(texts.size, 1);
  });

  test('are demanded where nothing else is said', async () => {
    await assertRefused(() => edge.call({}), 401, 'credentials_missing');
  });

  test('that are revoked are refused as soon as the router hears of it', async () => {
    const leaving = await edge.customer(['messages:read']);
    const call = () => edge.call({ user: leaving.accountId, secret: leaving.secret });
    assert.equal((await call()).status, 200);
    await cell.identity.admin.call(IdentityAdmin.method.revokeKey, { keyId: leaving.keyId });
    await eventually(async () => assert.equal((await call()).status, 401));
    await assertRefused(call, 401, 'credentials_rejected', /key_revoked/);
  });

  test('can be two at a time, so that one takes over from the other', async () => {
    const rotating = await edge.customer(['messages:read']);
    const { secret } = await cell.identity.admin.call(IdentityAdmin.method.rotateKey, { keyId: rotating.keyId });
    const user = rotating.accountId;
    await eventually(async () => assert.equal((await edge.call({ user, secret })).status, 200));
    assert.equal((await edge.call({ user, secret: rotating.secret })).status, 200);
  });
});

describe('what reaches the application', () => {
  test('is in nobody’s name but the verified one', async () => {
    const answer = await edge.call({
      user: customer.accountId,
      secret: customer.secret,
      headers: {
        'cellmesh-account': `AC${'f'.repeat(32)}`,
        'cellmesh-token': 'forged',
        'cellmesh-left': '1 billing:write',
        'cellmesh-caller': 'spiffe://cell-1.cellmesh.localhost/ns/a/sa/b',
        cellmesh_account: 'forged',
        'x-forwarded-client-cert': 'forged',
        'x-forwarded-for': '203.0.113.9',
        forwarded: 'for=203.0.113.9',
        'x-app': 'kept',
      },
    });
    assert.equal(answer.status, 200, answer.body);
    const headers = JSON.parse(answer.body) as Record<string, string>;
    assert.equal(headers['cellmesh-account'], customer.accountId);
    assert.equal(headers['cellmesh-scope'], 'messages:read');
    assert.equal(headers['cellmesh-caller'], 'spiffe://cellmesh.localhost/router/local/router-9');
    assert.equal(headers['x-forwarded-for'], '127.0.0.1');
    assert.equal(headers['x-app'], 'kept');
    for (const name of [
      'authorization',
      'cellmesh-token',
      'cellmesh-left',
      'cellmesh_account',
      'x-forwarded-client-cert',
      'forwarded',
    ])
      assert.equal(headers[name], undefined, name);
    assert.ok(!answer.body.includes('forged'));
  });

  test('comes back without what only the mesh may say', async () => {
    const { headers } = await edge.call({ user: customer.accountId, secret: customer.secret });
    assert.equal(headers['cellmesh-account'], undefined);
    assert.equal(headers['cellmesh-secret'], undefined);
    assert.equal(headers['x-app'], 'kept');
    assert.match(String(headers['cellmesh-decision']), /^api-/);
  });
});

describe('a request', () => {
  const asCustomer = (call: object) => () => edge.call({ user: customer.accountId, secret: customer.secret, ...call });

  test('for a host or path that nobody exposes is a 404', async () => {
    await assertRefused(asCustomer({ path: '/internal' }), 404, 'route_unknown');
    await assertRefused(asCustomer({ host: 'messaging' }), 404, 'route_unknown');
    await assertRefused(asCustomer({ host: 'example.com' }), 404, 'route_unknown');
  });

  test('whose path has more than one reading is a 400', async () => {
    await assertRefused(asCustomer({ path: '/v1/../internal' }), 400, 'path_dot_segment');
    await assertRefused(asCustomer({ path: '/v1%2flocal' }), 400, 'path_encoded_separator');
  });

  test('without the scope is refused in the cell, by the id of whoever refused', async () => {
    const answer = await asCustomer({ method: 'POST', path: '/v1/messages', body: 'x' })();
    assert.equal(answer.status, 403);
    const { reason, decision } = JSON.parse(answer.body) as { reason: string; decision: string };
    assert.equal(reason, 'scope_missing');
    assert.match(decision, /^api-/);
  });
});

test('a customer may speak HTTP/2: many requests on one connection, each decided by itself', async () => {
  const client = http2.connect(`https://localhost:${edge.router.address.port}`, { ca: edge.ca });
  const ask = async (authorization: string | undefined) => {
    const request = client.request({
      ':path': '/v1/local',
      ':authority': 'api.cellmesh.localhost',
      ...(authorization && { authorization }),
    });
    const body = text(request);
    const [head] = await once(request, 'response');
    return { status: head[':status'] as number, app: head['x-app'], scope: head['cellmesh-scope'], body: await body };
  };
  const basic = `Basic ${Buffer.from(`${customer.accountId}:${customer.secret}`).toString('base64')}`;
  const answers = await Promise.all([basic, undefined, basic].map(ask));
  client.close();
  assert.deepEqual(
    answers.map(({ status, app }) => [status, app]),
    [
      [200, 'kept'],
      [401, undefined],
      [200, 'kept'],
    ],
  );
  assert.equal(client.alpnProtocol, 'h2');
  const seen = JSON.parse(answers[0]!.body) as Record<string, string>;
  assert.deepEqual([seen['cellmesh-account'], seen['authorization']], [customer.accountId, undefined]);
});

test('a customer may open a WebSocket, by an upgrade or on HTTP/2', async () => {
  const { port } = edge.router.address;
  const basic = `Basic ${Buffer.from(`${customer.accountId}:${customer.secret}`).toString('base64')}`;
  const url = `wss://localhost:${port}/v1/chat`;
  const socket = new WebSocket(url, {
    ca: edge.ca,
    headers: { host: 'api.cellmesh.localhost', authorization: basic },
  });
  await once(socket, 'open');
  socket.send('hello');
  assert.equal(String((await once(socket, 'message'))[0]), 'hello');
  socket.terminate();

  const refused = new WebSocket(url, { ca: edge.ca, headers: { host: 'api.cellmesh.localhost' } });
  refused.on('error', () => {});
  const [, response] = await once(refused, 'unexpected-response');
  assert.equal(response.statusCode, 401);

  const client = http2.connect(`https://localhost:${port}`, { ca: edge.ca });
  await once(client, 'remoteSettings');
  const stream = client.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':path': '/v1/chat',
    ':authority': 'api.cellmesh.localhost',
    'sec-websocket-version': '13',
    authorization: basic,
  });
  assert.equal((await once(stream, 'response'))[0][':status'], 200);
  // A masked text frame "hi", with a mask of zeros.
  stream.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]));
  assert.deepEqual([...(await once(stream, 'data'))[0]], [0x81, 2, 0x68, 0x69]);
  stream.destroy();
  client.close();
});
