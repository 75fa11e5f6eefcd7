import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { createCsr } from '#certs/csr.ts';
import { toPem } from '#certs/pem.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { type CertificateRequest, certificateRequests } from '#kubernetes/resources-certificate-request.ts';
import { account, prepareControlPlane, type Replica, startReplica } from '../../support/cluster-replicas.ts';
import { eventually } from '../../support/eventually.ts';
import { type KubernetesServer, startKubernetes } from '../../support/kubernetes.ts';
import {
  bindClusterRole,
  createNamespace,
  createPod,
  createServiceAccount,
  createToken,
  deletePod,
} from '../../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../../support/kubernetes-programs.ts';

const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const namespace = 'cellmesh';
/** By `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -subj /CN=x`. */
const p384 = Buffer.from(
  'MIIBBDCBiwIBADAMMQowCAYDVQQDDAF4MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEVtiZyjKGQ7P6NpOYaiCDOYROPvrDwPD7Gkhwi5y5APHyZIflLkNyT9eNG//1iVAvgqbPkg8qsfaV25PvRmQsZhbhbehIEhhIhCMnq9VDyq6JIcI/pY+0RHIthTagaN7ooAAwCgYIKoZIzj0EAwIDaAAwZQIwEj0c8PjN85vLCWx5Azi18OuWwPUt+hnPUqyWZzRQtRV5vvGn5y6fa4+dlXYufc6+AjEAuzepGcvgqXE9rZbIgTycK5IjRk4rf1UgLaNzFvZKxfM36izBPL9iheDThd1W8Ebe',
  'base64',
);
const programs = kubernetesPrograms();

describe('requests for an intermediate', { skip: 'skip' in programs && programs.skip }, () => {
  let server: KubernetesServer;
  let leader: Replica;
  let workload: KubernetesClient;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = await startKubernetes(programs);
    await prepareControlPlane(server, namespace);
    await createNamespace(server, 'shop');
    await createServiceAccount(server, 'shop', 'web');
    // What some products ask for, for their own certificates.
    await bindClusterRole(server, { namespace: 'shop', name: 'web' }, [
      { apiGroups: ['certificates.k8s.io'], resources: ['certificatesigningrequests'], verbs: ['create', 'get'] },
    ]);
    leader = await startReplica(server, { namespace, name: 'leader' });
    workload = await server.clientAs(await podToken('shop', 'web', 'web-1'));
  });
  after(async () => {
    await leader?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  async function podToken(inNamespace: string, serviceAccount: string, pod: string): Promise<string> {
    const uid = await createPod(server, { namespace: inNamespace, name: pod }, { serviceAccount });
    return createToken(server, { namespace: inNamespace, name: serviceAccount }, { pod: { name: pod, uid } });
  }

  const someCsr = () => createCsr(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);

  async function ask(client: KubernetesClient, csr = someCsr()): Promise<CertificateRequest> {
    const request = Buffer.from(toPem('CERTIFICATE REQUEST', csr)).toString('base64');
    const spec = { signerName: 'cellmesh.io/intermediate', request, usages: ['cert sign', 'crl sign'] };
    const object = { metadata: { generateName: 'test-' }, spec };
    const body = { type: 'application/json', text: JSON.stringify(object) };
    return certificateRequests.read(await client.ask({ method: 'POST', path, body, isRepeatable: false }));
  }

  const stateOf = ({ name }: CertificateRequest) => server.client.get(certificateRequests, { name });

  const refused = (request: CertificateRequest, reason: RegExp) =>
    eventually(async () => {
      const { refusal, certificate } = await stateOf(request);
      assert.match(refusal ?? '', reason);
      assert.equal(certificate, '');
    });

  test('by a pod of this control plane that is there are signed', async () => {
    leader.leadership.begin();
    const own = await server.clientAs(await podToken(namespace, account, 'other-replica'));
    const made = await ask(own);
    await eventually(async () => assert.match((await stateOf(made)).certificate, /BEGIN CERTIFICATE/));
  });

  test('by a workload that may make such requests are denied, and so is its copy of a good one', async () => {
    const made = await ask(workload);
    await refused(made, /not by the control plane's account/);
    const own = await server.clientAs(await podToken(namespace, account, 'copied'));
    const csr = someCsr();
    await ask(own, csr);
    await refused(await ask(workload, csr), /not by the control plane's account/);
  });

  test('by a workload fail too when somebody has approved them', async () => {
    leader.leadership.end();
    const made = await ask(workload);
    const approved = { type: 'Approved', status: 'True', reason: 'Test', message: 'by an administrator' };
    const { name, resourceVersion } = made;
    const status = { conditions: [approved] };
    await server.send('PUT', `${path}/${name}/approval`, { metadata: { name, resourceVersion }, status });
    leader.leadership.begin();
    await refused(made, /not by the control plane's account/);
  });

  test("with a token of the control plane's account that is bound to no pod are denied", async () => {
    const unbound = await server.clientAs(await createToken(server, { namespace, name: account }));
    await refused(await ask(unbound), /bound to no pod/);
  });

  test('by a pod that is gone, or has ended, are denied', async () => {
    leader.leadership.end();
    const askAs = async (pod: string) => ask(await server.clientAs(await podToken(namespace, account, pod)));
    const [gone, replaced, ended] = [await askAs('gone'), await askAs('replaced'), await askAs('ended')];
    for (const name of ['gone', 'replaced']) await deletePod(server, namespace, name);
    await createPod(server, { namespace, name: 'replaced' }, { serviceAccount: account });
    await server.send('PATCH', `/api/v1/namespaces/${namespace}/pods/ended/status`, { status: { phase: 'Failed' } });
    leader.leadership.begin();
    await refused(gone, /its pod is gone$/);
    await refused(replaced, /another has its name/);
    await refused(ended, /has ended/);
  });

  test('for a key of another kind are denied, and without a proof of possession not even made', async () => {
    const own = await server.clientAs(await podToken(namespace, account, 'careless'));
    const forged = someCsr();
    forged[forged.length - 1]! ^= 1;
    // The API server looks itself.
    await assert.rejects(ask(own, forged), { status: 422 });
    await refused(await ask(own, p384), /only P-256 keys/);
  });

  test('for another signer are left alone', async () => {
    const request = Buffer.from(toPem('CERTIFICATE REQUEST', someCsr())).toString('base64');
    const spec = { signerName: 'example.com/other', request, usages: ['cert sign'] };
    const made = certificateRequests.read(await server.send('POST', path, { metadata: { name: 'other' }, spec }));
    const own = await server.clientAs(await podToken(namespace, account, 'later'));
    const later = await ask(own);
    await eventually(async () => assert.notEqual((await stateOf(later)).certificate, ''));
    assert.deepEqual((await stateOf(made)).conditions, []);
  });
});
