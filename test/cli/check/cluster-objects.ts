import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { toPem } from '#certs/pem.ts';
import { readTextFile } from '#certs/private-file.ts';
import { serializeTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { openWebCertificate } from '#certs/web-certificate.ts';
import { controlPlanePermissions, rulesOf } from '#cli/install/permissions.ts';
import { injectPod } from '#control-plane/injector/inject-pod.ts';
import type { Pod } from '#control-plane/injector/pod.ts';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { testInjectorSettings } from '../../support/injected-pods.ts';
import type { KubernetesServer } from '../../support/kubernetes.ts';

export const image = 'registry.example/cellmesh:0.1.0';

/** An injector that the API server can call, on this machine. */
export interface TestInjector extends AsyncDisposable {
  readonly url: string;
  /** PEM: its certificate's, and the roots of the cell. */
  readonly authority: string;
}

/** Injects whatever it is asked about, as the control plane would. */
export async function startTestInjector(directory: string, bundle: TrustBundle): Promise<TestInjector> {
  const files = await openWebCertificate({
    directory,
    names: ['localhost'],
    addresses: ['127.0.0.1'],
    clock: systemClock,
    random: systemRandom,
  });
  const [cert, key, authority] = await Promise.all(
    [files.certificateFile, files.keyFile, files.authorityFile].map(readTextFile),
  );
  const settings = testInjectorSettings();
  const server = createServer({ cert, key }, async (request, response) => {
    const { request: asked } = (await json(request)) as { request: { uid: string; object: Pod | null } };
    const injection = asked.object === null ? undefined : injectPod(asked.object, settings);
    const operations =
      injection?.outcome === 'injected' ? [{ op: 'replace', path: '/spec', value: injection.pod.spec }] : undefined;
    const patch = operations && Buffer.from(JSON.stringify(operations)).toString('base64');
    const answer = {
      uid: asked.uid,
      allowed: injection?.outcome !== 'refused',
      ...(patch !== undefined && { patchType: 'JSONPatch', patch }),
    };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: answer }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const roots = bundle.roots.map(({ der }) => toPem('CERTIFICATE', der)).join('');
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/inject`,
    authority: `${authority}${roots}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export const cell = {
  apiVersion: 'cellmesh.io/v1alpha1',
  kind: 'Cell',
  metadata: { name: 'cell-1' },
  spec: {
    trustDomain: 'cell-1.example',
    domain: 'example',
    tokenIssuer: 'https://identity.example',
    scopes: { 'orders:read': 'Reads orders.' },
  },
};

export function policy(name: string, spec: object = {}) {
  return {
    apiVersion: 'cellmesh.io/v1alpha1',
    kind: 'ServicePolicy',
    metadata: { name, namespace: 'shop' },
    spec: { serviceAccount: name, mode: 'enforce', ports: [{ port: 8080, protocol: 'http' }], ...spec },
  };
}

export const allowed = { name: 'read', http: { methods: ['GET'], paths: ['/orders'] }, scopes: ['orders:read'] };

const name = 'cellmesh-control-plane';
/** Of the roles. */
export const installedRights = 'installed';
const rbac = '/apis/rbac.authorization.k8s.io/v1';

/** What an installation and its leader make: everything that is looked at but webhooks and pods. */
export async function createInstallation(server: KubernetesServer, bundle: TrustBundle): Promise<void> {
  const metadata = { name, namespace: 'cellmesh' };
  const selector = { matchLabels: { app: name } };
  const template = {
    metadata: { labels: { app: name } },
    spec: { serviceAccountName: name, containers: [{ name: 'main', image }] },
  };
  await server.send('POST', '/api/v1/namespaces/cellmesh/serviceaccounts', { metadata });
  await server.send('POST', '/apis/apps/v1/namespaces/cellmesh/deployments', {
    metadata,
    spec: { replicas: 2, selector, template },
  });
  await server.send('PATCH', `/apis/apps/v1/namespaces/cellmesh/deployments/${name}/status`, {
    status: { replicas: 2, readyReplicas: 2 },
  });
  await server.send('POST', '/apis/policy/v1/namespaces/cellmesh/poddisruptionbudgets', {
    metadata,
    spec: { minAvailable: 1, selector },
  });
  await grantInstalledRights(server);
  const data = { 'injector.yaml': `image: ${image}\n` };
  await server.send('POST', '/api/v1/namespaces/cellmesh/configmaps', { metadata: { name }, data });
  for (const namespace of ['cellmesh', 'shop']) await createBundle(server, namespace, serializeTrustBundle(bundle));
}

/** As `cellmesh install` gives them. */
async function grantInstalledRights(server: KubernetesServer): Promise<void> {
  const metadata = { name: installedRights };
  const subjects = [{ kind: 'ServiceAccount', name, namespace: 'cellmesh' }];
  const roleRef = (kind: string) => ({ apiGroup: 'rbac.authorization.k8s.io', kind, name: installedRights });
  const { cluster, namespace } = controlPlanePermissions;
  await server.send('POST', `${rbac}/clusterroles`, { metadata, rules: rulesOf(cluster) });
  await server.send('POST', `${rbac}/clusterrolebindings`, { metadata, roleRef: roleRef('ClusterRole'), subjects });
  const own = `${rbac}/namespaces/cellmesh`;
  await server.send('POST', `${own}/roles`, { metadata, rules: rulesOf(namespace) });
  await server.send('POST', `${own}/rolebindings`, { metadata, roleRef: roleRef('Role'), subjects });
}

export async function createBundle(server: KubernetesServer, namespace: string, text: string): Promise<void> {
  const data = { 'trust-bundle.json': text };
  await server.send('POST', `/api/v1/namespaces/${namespace}/configmaps`, {
    metadata: { name: 'cellmesh-trust-bundle' },
    data,
  });
}

/** Says that leader and node are there now. */
export async function renewLeases(server: KubernetesServer, ageMs = 0): Promise<void> {
  const renewTime = new Date(systemClock.now() - ageMs).toISOString().replace('Z', '000Z');
  for (const [namespace, lease] of [
    ['cellmesh', name],
    ['kube-node-lease', 'node-1'],
  ] as const) {
    const spec = { holderIdentity: 'pod-1', leaseDurationSeconds: 15, renewTime };
    const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${lease}`;
    const object = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: lease }, spec };
    const options = { body: object, contentType: 'application/apply-patch+yaml' };
    const { status, body } = await server.request('PATCH', `${path}?fieldManager=test&force=true`, options);
    if (status >= 300) throw new Error(JSON.stringify(body));
  }
}

/** Both configurations, at the test's own injector. */
export async function createWebhooks(server: KubernetesServer, { url, authority }: TestInjector): Promise<void> {
  const webhook = {
    admissionReviewVersions: ['v1'],
    sideEffects: 'None',
    failurePolicy: 'Fail',
    timeoutSeconds: 5,
    clientConfig: { url, caBundle: Buffer.from(authority).toString('base64') },
    namespaceSelector: { matchLabels: { 'cellmesh.io/inject': 'enabled' } },
  };
  const pods = [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }];
  const policies = [
    { apiGroups: ['cellmesh.io'], apiVersions: ['v1alpha1'], operations: ['DELETE'], resources: ['servicepolicies'] },
  ];
  const registration = '/apis/admissionregistration.k8s.io/v1';
  await server.send('POST', `${registration}/mutatingwebhookconfigurations`, {
    metadata: { name: 'cellmesh-injector' },
    webhooks: [{ name: 'inject.cellmesh.io', rules: pods, ...webhook }],
  });
  await server.send('POST', `${registration}/validatingwebhookconfigurations`, {
    metadata: { name: 'cellmesh-policies' },
    webhooks: [{ name: 'policies.cellmesh.io', rules: policies, ...webhook }],
  });
}

/** Says of an object what the control plane would. */
export async function setAccepted(server: KubernetesServer, path: string, status: 'True' | 'False', message: string) {
  const { metadata } = (await server.send('GET', path)) as { metadata: { generation: number } };
  const lastTransitionTime = new Date(systemClock.now()).toISOString();
  const condition = { type: 'Accepted', status, reason: 'Judged', message, lastTransitionTime };
  await server.send('PATCH', `${path}/status`, {
    status: { conditions: [{ ...condition, observedGeneration: metadata.generation }] },
  });
}
