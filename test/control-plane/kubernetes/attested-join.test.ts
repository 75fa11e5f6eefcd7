import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { renewalRequester } from '#api/svid-issuer-service.ts';
import { obtainSvid } from '#certs/renew-svid.ts';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { readSvid } from '#certs/svid.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { callHttp } from '../../support/application.ts';
import { eventually } from '../../support/eventually.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import {
  createNamespace,
  createPod,
  createServiceAccount,
  createToken,
  deletePod,
  setPodStatus,
} from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';
import { logLines } from '../../support/log-lines.ts';
import { type Cell, startCell } from '../../support/start-cell.ts';
import { root } from '../../tidy/source-files.ts';

/** Of the control plane, which is who the tokens are for. */
const audience = controlPlaneId(parseTrustDomain('cell-1.cellmesh.localhost'));

const pod = { namespace: 'messaging', name: 'delivery-0' };
const clock = systemClock;

/** To the service account of the control plane, where the role is. */
async function grant(
  server: KubernetesServer,
  role: { readonly kind: string; readonly metadata: { readonly name: string; readonly namespace?: string } },
): Promise<void> {
  const { name, namespace } = role.metadata;
  const api = '/apis/rbac.authorization.k8s.io/v1';
  const path = namespace === undefined ? `${api}/cluster` : `${api}/namespaces/${namespace}/`;
  await server.send('POST', `${path}roles`, role);
  await server.send('POST', `${path}rolebindings`, {
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: role.kind, name },
    subjects: [{ kind: 'ServiceAccount', namespace: 'cellmesh', name: 'control-plane' }],
  });
}

/** The rights that docs/operations.md names, and no other. */
async function grantDocumentedRights(server: KubernetesServer): Promise<string> {
  const page = await readFile(join(root, 'docs/operations.md'), 'utf8');
  const blocks = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].flatMap(([, text]) => parseAllDocuments(text!));
  const roles = blocks.map((block) => block.toJS()).filter(({ kind }) => /^(Cluster)?Role$/.test(kind));
  await createNamespace(server, 'cellmesh');
  for (const role of roles) await grant(server, role);
  await createServiceAccount(server, 'cellmesh', 'control-plane');
  return server.kubeconfigAs(
    'control-plane',
    await createToken(server, { namespace: 'cellmesh', name: 'control-plane' }),
  );
}

const programs = kubernetesPrograms();
describe('a control plane with a cluster', { skip: 'skip' in programs && programs.skip }, () => {
  const lines = logLines();
  let server: KubernetesServer;
  let cell: Cell;
  let tokenFile: string;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
    tokenFile = join(server.directory, 'projected-token');
    await createNamespace(server, 'messaging');
    for (const name of ['delivery', 'other']) await createServiceAccount(server, 'messaging', name);
    const kubernetes = await grantDocumentedRights(server);
    cell = await startCell({ logger: lines.logger, withoutSidecars: ['delivery'], controlPlaneFlags: { kubernetes } });
  });
  after(async () => {
    await cell?.[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  /** Makes the pod, and puts a token of it where its sidecar looks. */
  async function projectToken(serviceAccount = 'delivery', address = '127.0.0.1'): Promise<void> {
    const uid = await createPod(server, pod, { serviceAccount, address });
    const account = { namespace: 'messaging', name: serviceAccount };
    const token = await createToken(server, account, { audience, pod: { name: pod.name, uid } });
    await writeFile(tokenFile, `${token}\n`);
  }

  test('lets a sidecar wait that it does not believe, says why to its operator only, and lets it in with another token', async () => {
    const { delivery } = cell.services;
    await projectToken('delivery', '127.0.0.9');
    await delivery.startSidecar({ attestTokenFile: tokenFile });
    await eventually(() =>
      assert.match(delivery.sidecar.notReady().join(), /does not accept the token in .*projected-token/),
    );
    assert.doesNotMatch(delivery.sidecar.notReady().join(), /address_differs/);
    const [refusal] = lines.with('attestation refused', 'address_differs');
    const { time: _, ...fields } = refusal!;
    assert.deepEqual(fields, {
      level: 'warn',
      message: 'attestation refused',
      reason: 'address_differs',
      address: '127.0.0.1',
      namespace: 'messaging',
      serviceAccount: 'delivery',
      pod: 'delivery-0',
    });
    await deletePod(server, pod.namespace, pod.name);
    await projectToken();
    await eventually(() => assert.deepEqual(delivery.sidecar.notReady(), []));
    assert.equal((await cell.svidOf('delivery')).id, delivery.id);
    assert.equal(
      (await cell.services.messaging.call({ authority: 'delivery', path: '/', headers: { 'cellmesh-as': 'self' } }))
        .status,
      403,
      'it is in the mesh: its policy answers',
    );
  });

  test('renews an SVID that came by a token for whoever shows one again, and for nobody else', async () => {
    const svid = await cell.svidOf('delivery');
    const { signal } = new AbortController();
    using client = await cell.client(svid);
    const { bundles } = await readSvid(join(cell.services.delivery.stateDir, 'svid'), clock.now());
    const renew = (token?: string) => {
      const evidence = async () =>
        token === undefined ? undefined : ({ case: 'serviceAccountToken', value: token } as const);
      return obtainSvid({ requester: renewalRequester(client, evidence), bundles: () => bundles, clock, signal });
    };
    const rejected = (error: unknown) => isCellmeshError(error, 'attestation_rejected');
    const token = (await readFile(tokenFile, 'utf8')).trim();
    assert.equal((await renew(token)).id, svid.id);
    await assert.rejects(renew(), rejected);
    assert.equal(lines.with('attestation refused', 'evidence_missing').length, 1);

    const other = { namespace: 'messaging', name: 'other-0' };
    const uid = await createPod(server, other, { serviceAccount: 'other', address: '127.0.0.1' });
    const bound = { audience, pod: { name: other.name, uid } };
    await assert.rejects(renew(await createToken(server, { namespace: 'messaging', name: 'other' }, bound)), rejected);
    assert.equal(lines.with('attestation refused', 'workload_differs').length, 1);

    const before = lines.with('attestation refused', 'pod_gone').length;
    await deletePod(server, pod.namespace, pod.name);
    await assert.rejects(renew(token), rejected);
    assert.equal(lines.with('attestation refused', 'pod_gone').length, before + 1);
  });

  test('sends callers to no pod that is not ready, and knows how old its news is', async () => {
    const { messaging } = cell.services;
    const other = { namespace: 'messaging', name: 'readiness-0' };
    await eventually(() => assert.equal(messaging.sidecar.knownInstances(), 1));
    await createPod(server, other, { serviceAccount: 'other' });
    await deletePod(server, 'messaging', 'other-0');
    await setPodStatus(server, other, { address: '127.0.0.1', isReady: false });
    await eventually(() => assert.equal(messaging.sidecar.knownInstances(), 0));
    await setPodStatus(server, other, { address: '127.0.0.1' });
    await eventually(() => assert.equal(messaging.sidecar.knownInstances(), 1));
    await deletePod(server, other.namespace, other.name);
    const { body } = await callHttp({ port: cell.controlPlane.healthPort, path: '/metrics' });
    const [, age] = /^cellmesh_pods_age_seconds (\S+)$/m.exec(body) ?? [];
    assert.ok(Number(age) < 90, body);
    assert.deepEqual(lines.with('the API server is not followed'), [], 'with the rights that it has');
  });

  test('renews the SVID of a workload that joined by a join token, as before', async () => {
    const { signal } = new AbortController();
    const svid = await cell.svidOf('messaging');
    using client = await cell.client(svid);
    const { bundles } = await readSvid(join(cell.services.messaging.stateDir, 'svid'), clock.now());
    assert.equal(
      (await obtainSvid({ requester: renewalRequester(client), bundles: () => bundles, clock, signal })).id,
      svid.id,
    );
  });

  test('lets a sidecar renew with the token that lies in its file by then', async () => {
    const { delivery } = cell.services;
    await delivery.stopSidecar();
    await projectToken();
    await delivery.startSidecar({ attestTokenFile: tokenFile, svidRenewal: '200ms' });
    await eventually(() => assert.deepEqual(delivery.sidecar.notReady(), []));
    const renewals = () => lines.with('SVID renewed', '/sa/delivery').length;
    await eventually(() => assert.ok(renewals() >= 2, 'it renews'));
    await deletePod(server, pod.namespace, pod.name);
    await eventually(() => assert.ok(lines.with('the SVID was not renewed', 'attestation_rejected').length > 0));
    assert.deepEqual(delivery.sidecar.notReady(), [], 'what it has it keeps');
    const before = renewals();
    await projectToken();
    await eventually(() => assert.ok(renewals() > before, 'and goes on with the next pod of its name'));
  });

  test('is needed: a control plane without one takes no such tokens', async () => {
    await using plain = await startCell({ logger: lines.logger, withoutSidecars: ['delivery'] });
    const { delivery } = plain.services;
    await delivery.startSidecar({ attestTokenFile: tokenFile });
    await eventually(() => assert.match(delivery.sidecar.notReady().join(), /started without --kubernetes/));
  });
});

test('a sidecar with two kinds of evidence does not start', async () => {
  await using cell = await startCell({ withoutSidecars: ['delivery'] });
  const both = cell.services.delivery.startSidecar({ attestTokenFile: 'a', joinToken: 'b' });
  await assert.rejects(both, (error) => isCellmeshError(error, 'config_invalid'));
});
