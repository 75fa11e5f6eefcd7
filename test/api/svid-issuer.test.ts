import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ApiClient } from '#api/api-client.ts';
import { type ApiServer, served, startApiServer } from '#api/api-server.ts';
import { callerKind } from '#api/caller.ts';
import { JoinRequestSchema } from '#api/generated/cellmesh/certs/v1/svid_issuer_pb.ts';
import { ControlPlane } from '#api/generated/cellmesh/controlplane/v1/control_plane_pb.ts';
import { rpcTable } from '#api/rpc-table.ts';
import { joinRequester, joinTokenAttestor, renewalRequester, svidIssuerService } from '#api/svid-issuer-service.ts';
import { JoinTokens } from '#certs/join-token.ts';
import { joinTokenMigration, sqliteJoinTokenStore } from '#certs/join-token-store-sqlite.ts';
import { obtainSvid } from '#certs/renew-svid.ts';
import { adminId, controlPlaneId } from '#certs/reserved-ids.ts';
import { parseTrustDomain, type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import type { Svid } from '#certs/svid.ts';
import { systemClock } from '#runtime/clock.ts';
import { CellmeshError, isCellmeshError } from '#runtime/errors.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { openDatabase } from '#runtime/sqlite.ts';
import { WatchSource } from '#runtime/watch.ts';
import { type TestAuthority, testAuthority } from '../support/test-authority.ts';

const clock = systemClock;
const own = parseTrustDomain('cell-1.example.com');
const global = parseTrustDomain('example.com');
const workload = workloadId(own, 'shop', 'web');

interface Setting extends AsyncDisposable {
  readonly authority: TestAuthority;
  readonly tokens: JoinTokens;
  readonly server: ApiServer;
  client(svid?: Svid, expect?: SpiffeId): ApiClient;
}

async function startSetting(): Promise<Setting> {
  const authority = await testAuthority(clock);
  const database = openDatabase({ file: ':memory:', application: 'test', migrations: [joinTokenMigration] });
  const tokens = new JoinTokens({ store: sqliteJoinTokenStore(database), clock, random: systemRandom });
  const svid = await authority.issue(controlPlaneId(own));
  const controlPlane = served(ControlPlane, {
    async createJoinToken() {
      throw new CellmeshError('conflict', 'not today');
    },
    async getStatus() {
      throw new Error('secret of the inside');
    },
  });
  const server = await startApiServer({
    host: '127.0.0.1',
    port: 0,
    identity: new WatchSource({ svid, bundles: authority.bundles }),
    domains: { own, global },
    services: [
      svidIssuerService({ authority: authority.authority, attestor: joinTokenAttestor(tokens), logger: silentLogger }),
      controlPlane,
    ],
    rateLimiter: { take: (_, key) => (key.includes('greedy') ? 500 : 0) },
    clock,
    logger: silentLogger,
    onRefused: () => {},
  });
  const clients: ApiClient[] = [];
  return {
    authority,
    tokens,
    server,
    client(presented, expect = controlPlaneId(own)) {
      const identity =
        presented === undefined ? { bundles: authority.bundles } : { svid: presented, bundles: authority.bundles };
      const client = new ApiClient({ ...server.address, expect, identity: new WatchSource(identity), clock });
      clients.push(client);
      return client;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
      database.close();
    },
  };
}

const signal = new AbortController().signal;

test('a workload joins with a token, once, and renews with what it got', async () => {
  await using setting = await startSetting();
  const { token } = await setting.tokens.create({ id: workload });
  const bundles = () => setting.authority.bundles;
  const join = () =>
    obtainSvid({
      requester: joinRequester(setting.client(), async () => ({ case: 'joinToken', value: token.reveal() }) as const),
      bundles,
      clock,
      signal,
    });
  const svid = await join();
  assert.equal(svid.id, workload);
  await assert.rejects(join(), (error) => isCellmeshError(error, 'join_token_rejected'));
  const renewed = await obtainSvid({
    requester: renewalRequester(setting.client(svid)),
    bundles,
    clock,
    signal,
    expect: workload,
  });
  assert.notEqual(renewed.chain[0]?.serial, svid.chain[0]?.serial);
});

test('a control plane with another identity than the expected one is not talked to', async () => {
  await using setting = await startSetting();
  const { token } = await setting.tokens.create({ id: workload });
  const client = setting.client(undefined, workloadId(own, 'evil', 'twin'));
  const join = obtainSvid({
    requester: joinRequester(client, async () => ({ case: 'joinToken', value: token.reveal() }) as const),
    bundles: () => setting.authority.bundles,
    clock,
    signal,
  });
  await assert.rejects(
    join,
    (error) =>
      isCellmeshError(error) && /expected is spiffe:\/\/cell-1.example.com\/ns\/evil\/sa\/twin/.test(error.message),
  );
});

test('a caller of the wrong kind is told which permission it lacks', async () => {
  await using setting = await startSetting();
  const svid = await setting.authority.issue(workload);
  await assert.rejects(
    setting.client(svid).call(ControlPlane.method.getStatus, {}),
    (error) => isCellmeshError(error, 'rpc_denied') && error.message.includes('status.read'),
  );
  await assert.rejects(setting.client().call(ControlPlane.method.getStatus, {}), (error) =>
    isCellmeshError(error, 'rpc_denied'),
  );
});

test('typed errors cross the wire with their code, untyped ones without a word', async () => {
  await using setting = await startSetting();
  const admin = setting.client(await setting.authority.issue(adminId(own, 'operator')));
  await assert.rejects(
    admin.call(ControlPlane.method.createJoinToken, {}),
    (error) => isCellmeshError(error, 'conflict') && error.message === 'not today',
  );
  await assert.rejects(
    admin.call(ControlPlane.method.getStatus, {}),
    (error) => isCellmeshError(error, 'rpc_internal') && !error.message.includes('secret'),
  );
});

test('one caller that asks too often is told how long to wait', async () => {
  await using setting = await startSetting();
  const greedy = setting.client(await setting.authority.issue(adminId(own, 'greedy')));
  await assert.rejects(
    greedy.call(ControlPlane.method.getStatus, {}),
    (error) => isCellmeshError(error, 'rpc_rate_limited') && error.retryable,
  );
});

test('nobody who listens is an error that may pass', async () => {
  const authority = await testAuthority(clock);
  using client = new ApiClient({
    host: '127.0.0.1',
    port: 1,
    expect: controlPlaneId(own),
    identity: new WatchSource({ bundles: authority.bundles }),
    clock,
  });
  await assert.rejects(
    client.call(ControlPlane.method.getStatus, {}),
    (error) => isCellmeshError(error, 'rpc_unavailable') && error.retryable,
  );
});

test('every RPC crossed with every kind of caller is allowed by its row or denied', () => {
  const kinds = ['anonymous', 'workload', 'router', 'control-plane', 'admin', 'stranger'] as const;
  for (const [rpc, { callers, permission }] of Object.entries(rpcTable)) {
    assert.ok(callers.length > 0 && permission !== '', rpc);
    assert.ok(!callers.includes('stranger'), rpc);
    if (callers.includes('anonymous')) assert.deepEqual(callers, ['anonymous'], rpc);
    for (const kind of kinds) assert.equal(typeof callers.includes(kind), 'boolean');
  }
  const peer = (id: string) => ({ id, trustDomain: id.split('/')[2] }) as never;
  assert.equal(callerKind(peer('spiffe://cell-2.example.com/ns/a/sa/b'), { own, global }), 'stranger');
  assert.equal(
    callerKind(peer('spiffe://cell-2.example.com/cellmesh/control-plane'), { own, global }),
    'control-plane',
  );
  assert.equal(callerKind(peer('spiffe://cell-2.example.com/cellmesh/admin/x'), { own, global }), 'stranger');
  assert.equal(callerKind(peer('spiffe://example.com/router/eu/r1'), { own, global }), 'router');
  assert.equal(callerKind(undefined, { own, global }), 'anonymous');
});

test('a service with an RPC that is not in the table does not start', async () => {
  const authority = await testAuthority(clock);
  const unknown = { ...ControlPlane, methods: [{ ...ControlPlane.methods[0]!, name: 'Unlisted' }] };
  const start = startApiServer({
    host: '127.0.0.1',
    port: 0,
    identity: new WatchSource({ svid: await authority.issue(controlPlaneId(own)), bundles: authority.bundles }),
    domains: { own, global },
    services: [{ service: unknown as never, handlers: {} }],
    rateLimiter: { take: () => 0 },
    clock,
    logger: silentLogger,
    onRefused: () => {},
  });
  await assert.rejects(start, /Unlisted is not in the table/);
});

test('a join token lies in a message as it did before there was other evidence', () => {
  const csr = Uint8Array.of(7);
  const before = Uint8Array.of(0x0a, 1, 0x78, 0x12, 1, 7);
  const evidence = { case: 'joinToken' as const, value: 'x' };
  assert.deepEqual(toBinary(JoinRequestSchema, create(JoinRequestSchema, { evidence, csr })), before);
  assert.deepEqual(fromBinary(JoinRequestSchema, before).evidence, evidence);
});

test('evidence that this authority does not know is no join token', async () => {
  await using setting = await startSetting();
  const evidence = async () => ({ case: 'serviceAccountToken', value: 'a.b.c' }) as const;
  const bundles = () => setting.authority.bundles;
  const join = obtainSvid({ requester: joinRequester(setting.client(), evidence), bundles, clock, signal });
  await assert.rejects(join, (error) => isCellmeshError(error, 'attestation_unavailable'));
});
