import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { Agent, request } from 'undici';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { edgeAuthorityOf, isAlive, type RunningUp, runCommand, startUp } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const processNames = [
  'router',
  'identity',
  'control-plane',
  ...['api', 'messaging', 'delivery', 'carrier', 'store'].flatMap((name) => [name, `${name}-sidecar`]),
];

interface Demo {
  readonly accountId: string;
  readonly keys: readonly { readonly secret: string }[];
}

interface EdgeAnswer {
  readonly status: number;
  readonly decision: string;
  readonly text: string;
  /** Its JSON; nothing where it is none. */
  readonly body: Record<string, unknown>;
}

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let stateDir: string;
let up: RunningUp;
let demo: Demo;
let customers: Agent;

before(async () => {
  directory = await temporaryDirectory();
  stateDir = join(directory.path, 'state');
  up = await startUp(stateDir);
  demo = JSON.parse(await readFile(join(stateDir, 'demo.json'), 'utf8')) as Demo;
  customers = new Agent({ connect: { ca: await readFile(edgeAuthorityOf(stateDir), 'utf8') } });
});

after(async () => {
  await customers?.close();
  await up?.[Symbol.asyncDispose]();
  await directory?.[Symbol.asyncDispose]();
});

/** What a customer's client does; `key` is the number of the demonstration's key, or nothing. */
async function callEdge(
  key: number | undefined,
  {
    method = 'GET',
    path = '/v1/messages/0',
    body,
  }: { method?: 'GET' | 'POST' | 'DELETE'; path?: string; body?: object },
): Promise<EdgeAnswer> {
  const credentials = `${demo.accountId}:${demo.keys[key ?? 0]!.secret}`;
  const answer = await request(`https://localhost:${up.portBase + 443}${path}`, {
    dispatcher: customers,
    method,
    headers: {
      ...(key !== undefined && { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const decision = String(answer.headers['cellmesh-decision']);
  const text = await answer.body.text();
  const isJson = answer.headers['content-type'] === 'application/json';
  return { status: answer.statusCode, decision, text, body: isJson ? JSON.parse(text) : {} };
}

/** What comes on a connection until it ends. */
async function said(socket: Socket, question: string): Promise<string> {
  socket.end(question);
  return await readText(socket);
}

const message = { method: 'POST', path: '/v1/messages', body: { to: '+15550100', text: 'hello' } } as const;

async function explained(id: string): Promise<DecisionRecord> {
  return eventually(async () => (await up.json('explain', id)) as DecisionRecord);
}

describe('a cell of real processes', () => {
  test('runs thirteen processes and says where', () => {
    for (const name of processNames) assert.ok(isAlive(up.pidOf(name)), name);
    assert.doesNotMatch(up.output(), /^ {2}! /m);
  });

  test("a customer's call goes through router and five services; it is followed and explained", async () => {
    const { status, decision, body } = await callEdge(0, message);
    assert.equal(status, 201);
    assert.equal(body['account'], demo.accountId);
    assert.equal((await callEdge(0, { path: `/v1/messages/${body['id']}` })).status, 200);
    const record = await explained(decision);
    assert.equal(record.outcome, 'permit');
    assert.equal(record.rule, 'write');
    await eventually(() => {
      assert.match(
        up.output(),
        /^.* ALLOW 200 .*\[messaging\/carrier\] POST \/messaging.carrier.v1.Carrier\/Send +rule send/m,
      );
      assert.match(up.output(), /^.* ALLOW 200 .*\[messaging\/store\] CONNECT .* rule keep/m);
    });
    await eventually(() => {
      const line = up.decisions().find((line) => line.endsWith(decision));
      assert.match(line ?? '', /ALLOW 201 .*\[messaging\/api\] POST \/v1\/messages/);
    });
    const words = await up.run('explain', decision);
    assert.match(words.stdout, /ALLOWED by rule `write`; answered 201/);
  });

  test('without credentials, with wrong ones, and on a path that nobody exposes', async () => {
    for (const [answer, status, reason] of [
      [await callEdge(undefined, message), 401, 'credentials_missing'],
      [await callEdge(0, { path: '/internal' }), 404, 'route_unknown'],
    ] as const) {
      assert.equal(answer.status, status);
      assert.equal(answer.body['reason'], reason);
      assert.equal((await explained(answer.decision)).reason, reason);
    }
  });

  test('a key that may only read is refused for its missing scope', async () => {
    const { status, decision, body } = await callEdge(1, message);
    assert.equal(status, 403);
    assert.equal(body['reason'], 'scope_missing');
    assert.equal((await explained(decision)).failed?.expected, 'messages:write');
  });

  test('a scope that a hop on the way may not carry is missing there', async () => {
    const { body } = await callEdge(0, message);
    const refused = await callEdge(0, { method: 'DELETE', path: `/v1/messages/${body['id']}` });
    assert.equal(refused.status, 403);
    assert.equal(refused.body['reason'], 'scope_not_carried');
    const record = await explained(String(refused.body['decision']));
    assert.equal(record.reason, 'scope_not_carried');
    assert.equal(record.service, 'messaging/delivery');
  });

  test('a stream of gRPC from the last service reaches the customer as it comes', async () => {
    const { body } = await callEdge(0, message);
    const events = await callEdge(0, { path: `/v1/messages/${body['id']}/events` });
    assert.equal(events.status, 200);
    assert.equal(events.text, '{"state":"accepted"}\n{"state":"sent"}\n{"state":"delivered"}\n');
  });

  test('a method of gRPC is refused to a key without its scope', async () => {
    const { body } = await callEdge(0, message);
    const refused = await callEdge(1, { path: `/v1/messages/${body['id']}/events` });
    assert.equal(refused.status, 403);
    assert.equal(refused.body['reason'], 'scope_missing');
    const record = await explained(String(refused.body['decision']));
    assert.deepEqual([record.service, record.path], ['messaging/carrier', '/messaging.carrier.v1.Carrier/Track']);
    assert.equal(record.failed?.expected, 'deliveries:read');
  });

  test('a protocol that nobody knows passes by the port for its callee, and by no other way', async () => {
    const asked = 'SET greeting hello, world\nGET greeting\nGET nothing\nQUIT\n';
    assert.equal(await said(connect(up.portBase + 190, '127.0.0.1'), asked), 'OK\nVALUE hello, world\nNONE\n');
    // `delivery` does not declare the call.
    const tunnel = `CONNECT store:${up.portBase + 480} HTTP/1.1\r\nhost: store:${up.portBase + 480}\r\n\r\n`;
    const refusal = await said(connect(up.portBase + 201, '127.0.0.1'), tunnel);
    assert.match(refusal, /^HTTP\/1.1 403 /);
    assert.equal((await explained(/^cellmesh-decision: (.*)\r$/m.exec(refusal)![1]!)).reason, 'not_declared');
  });

  test("`delivery` has no use for a customer's token that it got hold of", async () => {
    const { token } = (await up.json('token', 'mint')) as { token: string };
    const args = ['call', '--as', 'messaging/delivery', '--token', '-', 'http://messaging/messages/1', '--json'];
    const { stdout } = await runCommand([...args, '--state', stateDir], token);
    const { status, headers } = JSON.parse(stdout) as { status: number; headers: Record<string, string> };
    assert.equal(status, 403);
    const record = await explained(headers['cellmesh-decision']!);
    assert.equal(record.reason, 'peer_not_allowed');
    assert.match(String(record.peer), /sa\/delivery$/);
  });

  test('a token for another cell and an expired one are refused', async () => {
    for (const [options, status, reason] of [
      [['--cell', 'cell-2'], 421, 'wrong_cell'],
      [['--age', '10m'], 401, 'token_expired'],
    ] as const) {
      const { token } = (await up.json('token', 'mint', ...options)) as { token: string };
      const args = ['call', '--as', 'router', '--token', '-', 'http://api/v1/messages/1', '--json'];
      const { stdout } = await runCommand([...args, '--state', stateDir], token);
      const answer = JSON.parse(stdout) as { status: number; headers: Record<string, string> };
      assert.equal(answer.status, status);
      assert.equal((await explained(answer.headers['cellmesh-decision']!)).reason, reason);
      const inspected = await runCommand(['token', 'inspect', '--json', '--state', stateDir], token);
      assert.equal((JSON.parse(inspected.stdout) as { isAccepted: boolean }).isAccepted, false);
    }
  });

  test('operators keep accounts and keys; a new key works at once, a revoked one no more', async () => {
    const [account] = (await up.json('accounts', 'create', 'Acme')) as [{ accountId: string }];
    const created = (await up.json('keys', 'create', account.accountId, '--scopes', 'messages:read')) as {
      keyId: string;
      secret: string;
    };
    const readAs = async () => {
      const credentials = Buffer.from(`${account.accountId}:${created.secret}`).toString('base64');
      const url = `https://localhost:${up.portBase + 443}/v1/messages/0`;
      const { statusCode, body } = await request(url, {
        dispatcher: customers,
        headers: { authorization: `Basic ${credentials}` },
      });
      await body.dump();
      return statusCode;
    };
    // No such message: the application says so.
    await eventually(async () => assert.equal(await readAs(), 404));
    const listed = (await up.json('keys', 'list', account.accountId)) as { keyId: string; state: string }[];
    assert.deepEqual(
      listed.map(({ keyId, state }) => [keyId, state]),
      [[created.keyId, 'active']],
    );
    await up.json('keys', 'revoke', created.keyId);
    await eventually(async () => assert.equal(await readAs(), 401));
  });

  test('manifests in force are linted and drawn, and versions compared that were in force', async () => {
    assert.match((await up.run('policy', 'lint')).stdout, /^0 errors, 0 warnings, 0 notes in 6 files/);
    assert.match((await up.run('policy', 'graph')).stdout, /^flowchart LR/);
    const versions = async () => (await up.json('policy', 'versions')) as { version: string }[];
    const [first] = await versions();
    const file = join(stateDir, 'policy', 'api.yaml');
    const before = await readFile(file, 'utf8');
    await writeFile(file, before.replace('methods: [POST]', 'methods: [POST, PUT]'));
    const second = await eventually(async () => {
      const now = (await versions()).at(-1);
      assert.notEqual(now!.version, first!.version);
      return now!;
    });
    const { stdout } = await up.run('policy', 'diff', `@${first!.version}`, `@${second.version}`);
    const change = 'messaging/api\n  rule write: wider\n    methods: POST -> POST, PUT (wider)\n\n1 change: 1 wider\n';
    assert.equal(stdout, change);
    assert.equal((await up.run('policy', 'diff', `@${first!.version}`, join(stateDir, 'policy'))).stdout, change);
    const unknown = await up.run('policy', 'diff', '@000000000000', join(stateDir, 'policy'));
    assert.deepEqual([unknown.code, unknown.stdout], [66, '']);
    await writeFile(file, before);
    await eventually(async () => assert.equal((await versions()).at(-1)!.version, first!.version));
  });

  test('shows who holds which certificate, and makes join tokens', async () => {
    const { rows } = (await up.json('certs', 'show')) as { rows: { of: string; kind: string; name: string }[] };
    const svids = rows.filter(({ kind }) => kind === 'svid').map(({ name }) => name);
    assert.ok(svids.includes('spiffe://cell-1.cellmesh.localhost/ns/messaging/sa/delivery'));
    const id = 'spiffe://cell-1.cellmesh.localhost/ns/messaging/sa/other';
    const { joinToken } = (await up.json('join-token', 'create', id)) as { joinToken: string };
    assert.match(joinToken, /^cmj1_/);
    const refused = await up.run('join-token', 'create', 'spiffe://cell-1.cellmesh.localhost/cellmesh/control-plane');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /\[join_token_refused\]/);
  });

  test('a killed sidecar comes back by itself, without the control plane', async () => {
    const controlPlane = up.pidOf('control-plane');
    process.kill(controlPlane, 'SIGSTOP');
    try {
      process.kill(up.pidOf('messaging-sidecar'), 'SIGKILL');
      await eventually(() => assert.match(up.output(), /! messaging-sidecar ended \(SIGKILL\)/));
      await eventually(async () => assert.equal((await callEdge(0, message)).status, 201), 20_000);
    } finally {
      process.kill(controlPlane, 'SIGCONT');
    }
  });

  test('what was acknowledged before identity was killed is there after it', async () => {
    const [account] = (await up.json('accounts', 'create', 'Durable')) as [{ accountId: string }];
    process.kill(up.pidOf('identity'), 'SIGKILL');
    await eventually(async () => {
      const accounts = (await up.json('accounts', 'list')) as { accountId: string }[];
      assert.ok(accounts.some(({ accountId }) => accountId === account.accountId));
    }, 20_000);
  });

  test('a second cell on the same ports says which are taken, and by what it wanted them', async () => {
    const other = join(directory.path, 'other');
    const { code, stderr } = await runCommand(['up', '--state', other, '--port-base', String(up.portBase)]);
    assert.equal(code, 69);
    assert.match(stderr, new RegExp(`${up.portBase + 443} \\(the router\\).*--port-base \\[port_taken\\]`));
    assert.equal(stderr.trim().split('\n').length, 1);
  });

  test('Ctrl-C ends every process; a second start takes up the state of the first', async () => {
    const { decision, body } = await callEdge(0, message);
    await explained(decision);
    const pids = processNames.map((name) => up.pidOf(name));
    assert.equal(await up.interrupt(), 0);
    assert.ok(pids.every((pid) => !isAlive(pid)));
    up = await startUp(stateDir, { portBase: up.portBase });
    assert.equal((await explained(decision)).id, decision);
    assert.equal((await callEdge(0, message)).status, 201);
    assert.equal((await callEdge(0, { path: `/v1/messages/${body['id']}` })).status, 404);
  });

  test('ends with whoever started it, even if that one was killed', async () => {
    const pids = processNames.map((name) => up.pidOf(name));
    up.process.kill('SIGKILL');
    await eventually(() => assert.ok(pids.every((pid) => !isAlive(pid))), 20_000);
  });
});
