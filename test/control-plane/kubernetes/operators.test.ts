import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { decodeJwt } from 'jose';
import { ApiClient } from '#api/api-client.ts';
import { ControlPlane } from '#api/generated/cellmesh/controlplane/v1/control_plane_pb.ts';
import { DecisionLog } from '#api/generated/cellmesh/policy/v1/decision_log_pb.ts';
import { renewalRequester } from '#api/svid-issuer-service.ts';
import { readTextFile } from '#certs/private-file.ts';
import { obtainSvid } from '#certs/renew-svid.ts';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { readSvid } from '#certs/svid.ts';
import { bundlesOf, parseTrustBundle, type TrustBundles } from '#certs/trust-bundle.ts';
import { KubernetesOperators } from '#kubernetes/operators.ts';
import { systemClock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import { WatchSource } from '#runtime/watch.ts';
import { grantDocumentedRights } from '../../support/documented-rights.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import { bindClusterRole, createServiceAccount, createToken, signAs } from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { logLines } from '../../support/log-lines.ts';
import { serviceNames } from '../../support/messaging-application.ts';
import { type Cell, startCell } from '../../support/start-cell.ts';

const clock = systemClock;
const trustDomain = parseTrustDomain('cell-1.cellmesh.localhost');
const audience = controlPlaneId(trustDomain);
const namespace = 'cellmesh';
const reader = `system:serviceaccount:${namespace}:reader`;
const status = { apiGroups: ['cellmesh.io'], resources: ['status', 'decisions'], verbs: ['get'] };

const programs = kubernetesPrograms();
describe('an operator of a cluster', { skip: 'skip' in programs && programs.skip }, () => {
  const lines = logLines();
  const clients = new DisposableStack();
  let server: KubernetesServer;
  let cell: Cell;
  let bundles: TrustBundles;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
    const kubernetes = await grantDocumentedRights(server);
    cell = await startCell({ logger: lines.logger, withoutSidecars: serviceNames, controlPlaneFlags: { kubernetes } });
    const file = join(cell.manifestsDir, '../control-plane/trust-bundle.json');
    bundles = bundlesOf(parseTrustBundle(await readTextFile(file), trustDomain));
    for (const name of ['reader', 'nobody']) await createServiceAccount(server, namespace, name);
    await bindClusterRole(server, { namespace, name: 'reader' }, [status]);
  });
  after(async () => {
    clients.dispose();
    await cell?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  function clientWith(token: string): ApiClient {
    const identity = new WatchSource({ bundles });
    const at = cell.controlPlane.address;
    return clients.use(new ApiClient({ ...at, expect: audience, identity, token: new Secret(token), clock }));
  }

  const tokenOf = (name: string, forWhom = audience as string) =>
    createToken(server, { namespace, name }, { audience: forWhom });

  const getStatus = async (token: string) => clientWith(token).call(ControlPlane.method.getStatus, {});

  /** Refused as not allowed, for that reason; the log has it too, with what is for the log alone. The token is in neither. */
  async function assertDenied(call: Promise<unknown>, reason: RegExp, token: string, logged = /./): Promise<void> {
    const error = await call.then(
      () => assert.fail('it went on'),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof CellmeshError);
    assert.equal(error.code, 'rpc_denied');
    assert.match(error.message, reason);
    const line = lines.with('call refused').findLast((one) => error.message.endsWith(`: ${one['reason']}`));
    assert.match(`${JSON.stringify(line)}`, logged);
    assert.ok(line !== undefined, error.message);
    assert.ok(!error.message.includes(token), 'the token is not told');
    assert.ok(!lines.text().includes(token), 'the token is in no log');
  }

  test('calls by a token for this control plane, and the log says who it was', async () => {
    const token = await tokenOf('reader');
    assert.equal((await getStatus(token)).cellId, 'cell-1');
    const { record } = await clientWith(token).call(DecisionLog.method.find, { id: 'none' });
    assert.equal(record, '');
    const [call] = lines.with('"message":"call"', 'DecisionLog/Find');
    const { time: _, ...fields } = call!;
    assert.deepEqual(fields, {
      level: 'info',
      message: 'call',
      rpc: 'cellmesh.policy.v1.DecisionLog/Find',
      caller: 'admin',
      operator: reader,
      address: '127.0.0.1',
    });
    assert.ok(!lines.text().includes(token));
  });

  test('is refused what no role of theirs allows, and told which rule is missing', async () => {
    const token = await tokenOf('reader');
    const create = clientWith(token).call(ControlPlane.method.createJoinToken, {
      spiffeId: `spiffe://${trustDomain}/ns/messaging/sa/api`,
    });
    await assertDenied(
      create,
      /CreateJoinToken needs the permission jointokens\.create: system:serviceaccount:cellmesh:reader may not create jointokens\.cellmesh\.io; .* { apiGroups: \[cellmesh\.io\], resources: \[jointokens\], verbs: \[create\] }/,
      token,
    );
    const nobody = await tokenOf('nobody');
    await assertDenied(getStatus(nobody), /:nobody may not get status\.cellmesh\.io/, nobody);
  });

  test('is refused by a token for somebody else', async () => {
    for (const other of [
      'https://kubernetes.default.svc',
      'spiffe://cell-2.cellmesh.localhost/cellmesh/control-plane',
    ]) {
      const token = await tokenOf('reader', other);
      await assertDenied(
        getStatus(token),
        /does not take the token for the audience spiffe:\/\/cell-1\.cellmesh\.localhost\/cellmesh\/control-plane/,
        token,
        /"detail":".*audience/,
      );
    }
  });

  test('is refused by a token that has ended, one of an account that is gone, one that others signed, and by none', async () => {
    const { exp = 0, ...claims } = decodeJwt(await tokenOf('reader'));
    const past = exp - 3600;
    const account = { namespace, name: 'reader' };
    const ended = await signAs(server, { ...claims, iat: past - 600, nbf: past - 600, exp: past }, account);
    await assertDenied(getStatus(ended), /does not take the token/, ended, /"detail":".*expired/);

    await createServiceAccount(server, namespace, 'leaver');
    await bindClusterRole(server, { namespace, name: 'leaver' }, [status]);
    const left = await tokenOf('leaver');
    await server.send('DELETE', `/api/v1/namespaces/${namespace}/serviceaccounts/leaver`);
    await assertDenied(getStatus(left), /does not take the token/, left, /"detail":".*leaver/);

    const torn = `${(await tokenOf('reader')).slice(0, -8)}AAAAAAAA`;
    await assertDenied(getStatus(torn), /does not take the token/, torn);
    await assertDenied(getStatus('garbage'), /does not take the token/, 'garbage');
    await assertDenied(getStatus('x y'), /is not one bearer token/, 'x y');
    await assertDenied(getStatus('x'.repeat(17_000)), /is not one bearer token/, 'x'.repeat(17_000));
    using anonymous = new ApiClient({
      ...cell.controlPlane.address,
      expect: audience,
      identity: new WatchSource({ bundles }),
      clock,
    });
    await assertDenied(
      anonymous.call(ControlPlane.method.getStatus, {}),
      /an anonymous caller does not have it/,
      'no token',
    );
  });

  test('loses a right within ten seconds, and at once where it was not used', async () => {
    await createServiceAccount(server, namespace, 'mover');
    const binding = await bindClusterRole(server, { namespace, name: 'mover' }, [status]);
    const time = new FakeClock();
    const operators = new KubernetesOperators({ client: server.client, audience, clock: time, logger: lines.logger });
    const token = new Secret(await tokenOf('mover'));
    const isAllowed = async (permission: string) => (await operators.authorize(token, permission)).isAllowed;
    assert.ok(await isAllowed('status.read'));
    assert.ok(!(await isAllowed('status.create')), 'a right is not remembered for another');
    await server.send('DELETE', binding);
    await eventually(async () => assert.ok(!(await isAllowed('decisions.read'))));
    await time.advance(9_999);
    assert.ok(await isAllowed('status.read'));
    await time.advance(1);
    assert.ok(!(await isAllowed('status.read')));
  });

  test('follows decisions by a token, and not without the right to', async () => {
    const denied = await tokenOf('nobody');
    const end = new Promise((_, reject) => {
      clientWith(denied)
        .follow(DecisionLog.method.follow, {})
        .onEnd((error) => reject(error));
    });
    await assertDenied(end, /DecisionLog\/Follow needs the permission decisions\.read: .*:nobody may not get/, denied);
    const client = clientWith(await tokenOf('reader'));
    const pages = await Array.fromAsync(client.read(DecisionLog.method.export, {}));
    assert.deepEqual(
      pages.flatMap(({ records }) => records),
      [],
    );
    assert.equal(lines.with('"message":"call"', 'DecisionLog/Export', reader).length, 1);
  });

  test('has no SVID that could be renewed, and shows no token beside one', async () => {
    const token = await tokenOf('reader');
    const { signal } = new AbortController();
    const renewal = { requester: renewalRequester(clientWith(token)), bundles: () => bundles, clock, signal };
    await assertDenied(obtainSvid(renewal), /svids\.renew: an anonymous caller does not have it/, token);
    const admin = await readSvid(join(cell.manifestsDir, '../control-plane/admin'), clock.now());
    using both = new ApiClient({
      ...cell.controlPlane.address,
      expect: audience,
      identity: new WatchSource(admin),
      token: new Secret(token),
      clock,
    });
    await assertDenied(both.call(ControlPlane.method.getStatus, {}), /a certificate or a token, not both/, token);
  });

  test('is told to wait while the API server is away, and passes at no time', async () => {
    const token = await tokenOf('reader');
    await server.stop();
    try {
      await assert.rejects(
        getStatus(token),
        (error) => error instanceof CellmeshError && error.code === 'rpc_unavailable' && error.retryable,
      );
    } finally {
      await server.start();
    }
    await eventually(() => getStatus(token), 15_000);
  });

  test('is nobody to a control plane without a cluster', async () => {
    await using plain = await startCell({ logger: lines.logger, withoutSidecars: serviceNames });
    const file = join(plain.manifestsDir, '../control-plane/trust-bundle.json');
    const token = await tokenOf('reader');
    using client = new ApiClient({
      ...plain.controlPlane.address,
      expect: audience,
      identity: new WatchSource({ bundles: bundlesOf(parseTrustBundle(await readTextFile(file), trustDomain)) }),
      token: new Secret(token),
      clock,
    });
    await assertDenied(client.call(ControlPlane.method.getStatus, {}), /started without --kubernetes/, token);
  });
});
