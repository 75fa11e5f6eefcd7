import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseDocument } from 'yaml';
import { ApiClient } from '#api/api-client.ts';
import { IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { joinRequester, renewalRequester } from '#api/svid-issuer-service.ts';
import { obtainSvid } from '#certs/renew-svid.ts';
import { identityId, routerId } from '#certs/reserved-ids.ts';
import { parseSpiffeId } from '#certs/spiffe-id.ts';
import type { Svid } from '#certs/svid.ts';
import { bundlesOf, parseTrustBundle, type TrustBundles } from '#certs/trust-bundle.ts';
import { openWebCertificate } from '#certs/web-certificate.ts';
import { identitySettings } from '#identity/settings.ts';
import { type RunningIdentity, startIdentity } from '#identity/start-identity.ts';
import { routerSettings } from '#router/settings.ts';
import { startRouter } from '#router/start-router.ts';
import { systemClock } from '#runtime/clock.ts';
import { loadConfig } from '#runtime/config.ts';
import { CellmeshError, isCellmeshError } from '#runtime/errors.ts';
import { systemRandom } from '#runtime/random.ts';
import { Secret } from '#runtime/secret.ts';
import { WatchSource } from '#runtime/watch.ts';
import { runCommand } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { globalTrustDomain, tokenIssuer } from '../support/identity-setting.ts';
import { type KubernetesServer, startKubernetes } from '../support/kubernetes.ts';
import {
  bindClusterRole,
  createNamespace,
  createPod,
  createServiceAccount,
  createToken,
  deletePod,
} from '../support/kubernetes-objects.ts';
import { kubernetesPrograms } from '../support/kubernetes-programs.ts';
import { logLines } from '../support/log-lines.ts';
import { root } from '../tidy/source-files.ts';

const clock = systemClock;
const namespace = 'cellmesh-global';
const audience = identityId(globalTrustDomain, 'local');
const bundlePath = `/api/v1/namespaces/${namespace}/configmaps/cellmesh-global-trust-bundle`;
const rbac = '/apis/rbac.authorization.k8s.io/v1';

/** Gives identity the rights that docs/operations.md names, and no other. Returns its kubeconfig file. */
async function grantDocumentedRights(server: KubernetesServer): Promise<string> {
  const page = await readFile(join(root, 'docs/operations.md'), 'utf8');
  const blocks = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text]) => parseDocument(text!).toJS());
  const name = 'cellmesh-identity';
  await createServiceAccount(server, namespace, name);
  for (const kind of ['Role', 'ClusterRole']) {
    const role = blocks.find((block) => block.kind === kind && block.metadata.name === name);
    const at = kind === 'Role' ? `${rbac}/namespaces/${namespace}` : rbac;
    await server.send('POST', `${at}/${kind.toLowerCase()}s`, role);
    await server.send('POST', `${at}/${kind.toLowerCase()}bindings`, {
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name },
      subjects: [{ kind: 'ServiceAccount', namespace, name }],
    });
  }
  return server.kubeconfigAs('identity', await createToken(server, { namespace, name }));
}

const programs = kubernetesPrograms();
describe('identity with a cluster', { skip: 'skip' in programs && programs.skip }, () => {
  const lines = logLines();
  const stack = new AsyncDisposableStack();
  let server: KubernetesServer;
  let identity: RunningIdentity;
  let stateDir: string;
  let bundles: TrustBundles;
  let pods = 0;
  before(async () => {
    assert.ok(!('skip' in programs));
    server = stack.use(await startKubernetes(programs));
    for (const name of [namespace, 'shop']) await createNamespace(server, name);
    for (const name of ['cellmesh-router', 'web']) await createServiceAccount(server, namespace, name);
    await createServiceAccount(server, 'shop', 'cellmesh-router');
    stateDir = join(server.directory, 'identity');
    const flags = {
      kubernetes: await grantDocumentedRights(server),
      ...{ stateDir, tokenIssuer, trustDomain: globalTrustDomain },
      ...{ listen: '127.0.0.1:0', health: '127.0.0.1:0' },
    };
    const config = loadConfig(identitySettings, { environment: {}, flags });
    identity = stack.use(await startIdentity(config, { clock, random: systemRandom, logger: lines.logger }));
    const text = await readFile(join(stateDir, 'trust-bundle.json'), 'utf8');
    bundles = bundlesOf(parseTrustBundle(text, globalTrustDomain));
  });
  after(() => stack.disposeAsync());

  function client(more: { readonly svid?: Svid; readonly token?: Secret<string> } = {}): ApiClient {
    const source = new WatchSource(more.svid === undefined ? { bundles } : { svid: more.svid, bundles });
    const { token } = more;
    const made = new ApiClient({
      ...identity.address,
      expect: audience,
      identity: source,
      clock,
      ...(token && { token }),
    });
    return stack.use(made);
  }

  async function podWithToken(name = `router-${++pods}`, account = { namespace, name: 'cellmesh-router' }) {
    const pod = { namespace: account.namespace, name };
    const uid = await createPod(server, pod, { serviceAccount: account.name, address: '127.0.0.1' });
    return { name, uid, token: await createToken(server, account, { audience, pod: { name, uid } }) };
  }

  const evidenceOf = (value: string) => async () => ({ case: 'serviceAccountToken', value }) as const;
  const common = { bundles: () => bundles, clock, signal: new AbortController().signal };
  const joinWith = (token: string) => obtainSvid({ ...common, requester: joinRequester(client(), evidenceOf(token)) });

  async function assertRefused(joining: Promise<Svid>, reason: string): Promise<void> {
    const before = lines.with('attestation refused', `"reason":"${reason}"`).length;
    await assert.rejects(joining, (error) => isCellmeshError(error, 'attestation_rejected'));
    assert.equal(lines.with('attestation refused', `"reason":"${reason}"`).length, before + 1);
  }

  test('names a router after its pod', async () => {
    const { name, token } = await podWithToken();
    assert.equal((await joinWith(token)).id, routerId(globalTrustDomain, 'local', name));
  });

  test('takes nobody else’s pod for a router', async () => {
    for (const account of [
      { namespace, name: 'web' },
      { namespace: 'shop', name: 'cellmesh-router' },
    ]) {
      const { token } = await podWithToken(undefined, account);
      await assertRefused(joinWith(token), 'service_account_unexpected');
    }
    const router = { namespace, name: 'cellmesh-router' };
    await assertRefused(joinWith(await createToken(server, router, { audience })), 'pod_missing');
    const { name, uid } = await podWithToken();
    const other = await createToken(server, router, { audience: 'vault', pod: { name, uid } });
    await assertRefused(joinWith(other), 'token_not_authenticated');
    const gone = await podWithToken();
    await joinWith(gone.token);
    await deletePod(server, namespace, gone.name);
    await assertRefused(joinWith(gone.token), 'pod_gone');
  });

  test('renews for whoever shows the token of its pod again, and by the SVID alone where a join token came first', async () => {
    const [one, other] = [await podWithToken(), await podWithToken()];
    const svid = await joinWith(one.token);
    const renew = (token?: string, as = svid) => {
      const evidence = token === undefined ? undefined : evidenceOf(token);
      return obtainSvid({ ...common, requester: renewalRequester(client({ svid: as }), evidence) });
    };
    assert.equal((await renew(one.token)).id, svid.id);
    await assertRefused(renew(), 'evidence_missing');
    await assertRefused(renew(other.token), 'workload_differs');
    const id = routerId(globalTrustDomain, 'local', 'outside');
    const { token } = await identity.joinTokens.create({ id, allowReserved: true });
    const joinToken = async () => ({ case: 'joinToken', value: token.reveal() }) as const;
    const joined = await obtainSvid({ ...common, requester: joinRequester(client(), joinToken) });
    assert.equal((await renew(undefined, joined)).id, id);
  });

  test('has a router that starts and renews with the token in its file', async () => {
    const directory = join(server.directory, 'router');
    await mkdir(directory);
    const web = await openWebCertificate({
      ...{ directory: join(directory, 'web'), names: ['localhost'], addresses: ['127.0.0.1'] },
      ...{ clock, random: systemRandom },
    });
    const tokenFile = join(directory, 'token');
    const pod = await podWithToken('cellmesh-router-7d9f-x2x4z');
    await writeFile(tokenFile, `${pod.token}\n`);
    const flags = {
      ...{ instance: pod.name, globalTrustDomain, globalBundle: join(stateDir, 'trust-bundle.json'), tokenIssuer },
      ...{ identity: `127.0.0.1:${identity.address.port}`, attestTokenFile: tokenFile, svidRenewal: '200ms' },
      ...{ stateDir: join(directory, 'state'), listen: '127.0.0.1:0', health: '127.0.0.1:0' },
      ...{ certificate: web.certificateFile, certificateKey: web.keyFile, drain: '100ms' },
    };
    const config = loadConfig(routerSettings, { environment: {}, flags });
    await using router = await startRouter(config, { clock, random: systemRandom, logger: lines.logger });
    assert.equal(router.id, parseSpiffeId(`spiffe://${globalTrustDomain}/router/local/cellmesh-router-7d9f-x2x4z`));
    const renewals = () => lines.with('SVID renewed', router.id).length;
    await eventually(() => assert.ok(renewals() >= 2));
    await deletePod(server, namespace, pod.name);
    await eventually(() => assert.ok(lines.with('the SVID was not renewed', 'attestation_rejected').length > 0));
  });

  test('lets operators in by their tokens, for identity and by their roles', async () => {
    const operator = { namespace, name: 'cellmesh-operator' };
    await createServiceAccount(server, namespace, operator.name);
    await bindClusterRole(server, operator, [{ apiGroups: ['cellmesh.io'], resources: ['accounts'], verbs: ['get'] }]);
    const token = new Secret(await createToken(server, operator, { audience }));
    const { accounts } = await client({ token }).call(IdentityAdmin.method.listAccounts, {});
    assert.deepEqual(accounts, []);
    const denied = client({ token }).call(IdentityAdmin.method.createAccount, { name: 'x', cellId: 'cell-1' });
    await assert.rejects(denied, (error) => {
      assert.ok(error instanceof CellmeshError);
      assert.equal(error.code, 'rpc_denied');
      assert.match(error.message, /may not create accounts\.cellmesh\.io/);
      return true;
    });
    const forACell = new Secret(
      await createToken(server, operator, { audience: 'spiffe://cell-1/cellmesh/control-plane' }),
    );
    const wrong = client({ token: forACell }).call(IdentityAdmin.method.listAccounts, {});
    await assert.rejects(wrong, (error) => isCellmeshError(error, 'rpc_denied'));
  });

  test('is asked by the command with what kubectl brings', async () => {
    assert.ok(!('skip' in programs));
    const args = ['--kubeconfig', server.kubeconfig, '--address', `127.0.0.1:${identity.address.port}`];
    const { code, stdout, stderr } = await runCommand(['accounts', 'list', '--json', ...args], '', {
      KUBECTL: programs.kubectl,
    });
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: '[]\n', stderr: '' });
  });

  test('publishes its trust bundle', async () => {
    const published = async () => {
      const { data, metadata } = (await server.send('GET', bundlePath)) as Record<string, Record<string, unknown>>;
      const [{ manager } = { manager: '' }] = metadata!['managedFields'] as { manager: string }[];
      return { text: `${data!['trust-bundle.json']}`, manager };
    };
    await eventually(async () => {
      const { text, manager } = await published();
      assert.equal(text, await readFile(join(stateDir, 'trust-bundle.json'), 'utf8'));
      assert.equal(manager, 'cellmesh-identity');
    });
    assert.deepEqual(lines.with('the trust bundle is not published'), [], 'with the rights that it has');
  });
});
