import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { decodeJwt } from 'jose';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import {
  type AttestationReason,
  AttestationRejected,
  type AttestedIds,
  ServiceAccountAttestor,
} from '#kubernetes/service-account-attestor.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { eventually } from '../../support/eventually.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import {
  createNamespace,
  createPod,
  createServiceAccount,
  createToken,
  deletePod,
  type PodOptions,
  signAs,
} from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { type LogLines, logLines } from '../../support/log-lines.ts';

const trustDomain = parseTrustDomain('cell-1.example.com');
const ids: AttestedIds = {
  isMeant: ({ namespace }) => namespace !== 'other',
  idOf: ({ namespace, name }) => workloadId(trustDomain, namespace, name),
};
const audience = 'cellmesh';
const address = '10.1.2.3';

const programs = kubernetesPrograms();
describe('a projected service-account token, against an API server', {
  skip: 'skip' in programs && programs.skip,
}, () => {
  let server: KubernetesServer;
  let lines: LogLines;
  let attestor: ServiceAccountAttestor;
  let pods = 0;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
    lines = logLines();
    attestor = attestorWith();
    await createNamespace(server, 'shop');
    for (const name of ['web', 'other', 'default']) await createServiceAccount(server, 'shop', name);
  });
  after(() => server[Symbol.asyncDispose]());

  function attestorWith(comparesAddresses = true): ServiceAccountAttestor {
    return new ServiceAccountAttestor({
      client: server.client,
      ids,
      audience,
      comparesAddresses,
      logger: lines.logger,
    });
  }

  /** A pod with an address, and a token as its kubelet would project it. */
  async function podWithToken(options: Partial<PodOptions> = {}) {
    const serviceAccount = options.serviceAccount ?? 'web';
    const pod = { namespace: 'shop', name: `pod-${++pods}` };
    const uid = await createPod(server, pod, { address, ...options, serviceAccount });
    const token = await createToken(
      server,
      { namespace: 'shop', name: serviceAccount },
      { audience, pod: { name: pod.name, uid } },
    );
    return { ...pod, uid, token };
  }

  /** Refused for `reason`, which the log has and the caller has not. */
  async function assertRefused(token: string, reason: AttestationReason, from = address, by = attestor): Promise<void> {
    const error = await by.attest(token, from).then(
      (id) => assert.fail(`${id} was attested`),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof AttestationRejected, String(error));
    assert.equal(error.reason, reason);
    assert.doesNotMatch(error.message, new RegExp(reason));
    assert.ok(lines.with('attestation refused', `"reason":"${reason}"`).length > 0);
    assert.ok(!lines.text().includes(token.slice(0, 200)), 'the token is in no log');
  }

  test('gives its pod the identity of its service account', async () => {
    const { token } = await podWithToken();
    assert.equal(await attestor.attest(token, address), 'spiffe://cell-1.example.com/ns/shop/sa/web');
    assert.equal(await attestor.attest(token, `::ffff:${address}`), 'spiffe://cell-1.example.com/ns/shop/sa/web');
  });

  test('is taken from a pod whose address is not known yet', async () => {
    const pod = { namespace: 'shop', name: 'starting' };
    const uid = await createPod(server, pod, { serviceAccount: 'web' });
    const token = await createToken(
      server,
      { namespace: 'shop', name: 'web' },
      { audience, pod: { name: pod.name, uid } },
    );
    assert.equal(await attestor.attest(token, '10.7.7.7'), 'spiffe://cell-1.example.com/ns/shop/sa/web');
  });

  test('is refused for another audience', async () => {
    const { name, uid } = await podWithToken();
    for (const other of ['vault', undefined]) {
      const token = await createToken(
        server,
        { namespace: 'shop', name: 'web' },
        { ...(other !== undefined && { audience: other }), pod: { name, uid } },
      );
      await assertRefused(token, 'token_not_authenticated');
    }
  });

  test('is refused of a service account that is not meant, before its pod is looked up', async () => {
    await createNamespace(server, 'other');
    await createServiceAccount(server, 'other', 'web');
    const token = await createToken(server, { namespace: 'other', name: 'web' }, { audience });
    await assertRefused(token, 'service_account_unexpected');
  });

  test('is refused without a pod', async () => {
    await assertRefused(await createToken(server, { namespace: 'shop', name: 'web' }, { audience }), 'pod_missing');
  });

  test('is refused at once when its pod is gone, though the server calls it good for a while', async () => {
    const { name, token } = await podWithToken();
    await attestor.attest(token, address);
    await deletePod(server, 'shop', name);
    await assertRefused(token, 'pod_gone');
  });

  test('is refused when another pod has taken the name', async () => {
    const { name, token } = await podWithToken();
    await attestor.attest(token, address);
    await deletePod(server, 'shop', name);
    await createPod(server, { namespace: 'shop', name }, { serviceAccount: 'web', address });
    await assertRefused(token, 'pod_replaced');
  });

  test('is refused when its pod runs as another service account, or on another node, than it says', async () => {
    const { name, uid, token } = await podWithToken({ serviceAccount: 'other' });
    const claims = decodeJwt(token);
    const kubernetes = claims['kubernetes.io'] as Record<string, object>;
    // The server makes no such tokens; whoever has its key does.
    const changed = (change: object, sub = claims.sub!) =>
      signAs(server, { ...claims, sub, 'kubernetes.io': { ...kubernetes, ...change } });
    assert.equal(await attestor.attest(await changed({}), address), 'spiffe://cell-1.example.com/ns/shop/sa/other');
    const web = (await server.send('GET', '/api/v1/namespaces/shop/serviceaccounts/web')) as {
      metadata: { uid: string };
    };
    const asWeb = await changed(
      { serviceaccount: { name: 'web', uid: web.metadata.uid } },
      'system:serviceaccount:shop:web',
    );
    await assertRefused(asWeb, 'service_account_differs');
    await assertRefused(await changed({ node: { name: 'node-2', uid } }), 'node_differs');
    await assertRefused(await changed({ pod: { name, uid: web.metadata.uid } }), 'token_not_authenticated');
  });

  test('is refused when it has expired', async () => {
    const claims = decodeJwt((await podWithToken()).token);
    const now = Math.floor(systemClock.now() / 1000);
    const expired = await signAs(server, { ...claims, iat: now - 7200, nbf: now - 7200, exp: now - 3600 });
    await assertRefused(expired, 'token_not_authenticated');
  });

  test('is refused from an address that is not of its pod, unless addresses say nothing here', async () => {
    const { token } = await podWithToken();
    await assertRefused(token, 'address_differs', '10.1.2.4');
    assert.equal(await attestorWith(false).attest(token, '10.1.2.4'), 'spiffe://cell-1.example.com/ns/shop/sa/web');
  });

  test('is refused when its pod has ended', async () => {
    const { name, token } = await podWithToken();
    await server.send('PATCH', `/api/v1/namespaces/shop/pods/${name}/status`, { status: { phase: 'Failed' } });
    await assertRefused(token, 'pod_ended');
  });

  test('of the default service account is refused, unless the pod is annotated', async () => {
    await assertRefused((await podWithToken({ serviceAccount: 'default' })).token, 'service_account_default');
    const annotations = { 'cellmesh.io/allow-default-service-account': 'true' };
    const { token } = await podWithToken({ serviceAccount: 'default', annotations });
    assert.equal(await attestor.attest(token, address), 'spiffe://cell-1.example.com/ns/shop/sa/default');
    const almost = { 'cellmesh.io/allow-default-service-account': 'yes' };
    await assertRefused(
      (await podWithToken({ serviceAccount: 'default', annotations: almost })).token,
      'service_account_default',
    );
  });

  test('is refused with a bit changed', async () => {
    const { token } = await podWithToken();
    const [head, claims, signature] = token.split('.');
    const other = Buffer.from(claims!, 'base64url').toString().replace('"shop"', '"kube"');
    await assertRefused(`${head}.${Buffer.from(other).toString('base64url')}.${signature}`, 'token_not_authenticated');
  });

  for (const [which, token] of Object.entries({
    empty: '',
    long: 'a'.repeat(16 * 1024 + 1),
    'of two lines': 'a\r\nb: c',
  })) {
    test(`is not even shown to the server when it is ${which}`, async () => {
      await assert.rejects(
        attestor.attest(token, address),
        (error) => error instanceof AttestationRejected && error.reason === 'token_malformed',
      );
    });
  }

  test('waits for a server that does not answer, and says so', async () => {
    const { token } = await podWithToken();
    await server.stop();
    await assert.rejects(
      attestor.attest(token, address),
      (error) => isCellmeshError(error, 'attestation_unavailable') && error.retryable,
    );
    await server.start();
    await eventually(() => attestor.attest(token, address));
  });
});
