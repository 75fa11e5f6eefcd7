import { createPrivateKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeProtectedHeader, type JWTPayload, SignJWT } from 'jose';
import type { KubernetesServer } from './kubernetes.ts';

export interface PodOptions {
  readonly serviceAccount: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly address?: string;
  readonly node?: string;
}

const namespaced = (namespace: string, plural: string) => `/api/v1/namespaces/${namespace}/${plural}`;

export async function createNamespace(server: KubernetesServer, name: string): Promise<void> {
  await server.send('POST', '/api/v1/namespaces', { metadata: { name } });
}

export async function createServiceAccount(server: KubernetesServer, namespace: string, name: string): Promise<void> {
  await server.send('POST', namespaced(namespace, 'serviceaccounts'), { metadata: { name } });
}

/** Says that the pod has an address and whether it is ready, as its kubelet would. */
export async function setPodStatus(
  server: KubernetesServer,
  { namespace, name }: { namespace: string; name: string },
  { address, isReady = true }: { address: string; isReady?: boolean },
): Promise<void> {
  const conditions = [{ type: 'Ready', status: isReady ? 'True' : 'False' }];
  const status = { phase: 'Running', podIP: address, podIPs: [{ ip: address }], conditions };
  await server.send('PATCH', `${namespaced(namespace, 'pods')}/${name}/status`, { status });
}

/** A pod that nothing runs. Returns its uid. */
export async function createPod(
  server: KubernetesServer,
  { namespace, name }: { namespace: string; name: string },
  { serviceAccount, annotations = {}, address, node = 'node-1' }: PodOptions,
): Promise<string> {
  const pod = (await server.send('POST', namespaced(namespace, 'pods'), {
    metadata: { name, annotations },
    spec: { serviceAccountName: serviceAccount, nodeName: node, containers: [{ name: 'main', image: 'none' }] },
  })) as { metadata: { uid: string } };
  if (address !== undefined) await setPodStatus(server, { namespace, name }, { address });
  return pod.metadata.uid;
}

export async function deletePod(server: KubernetesServer, namespace: string, name: string): Promise<void> {
  await server.send('DELETE', `${namespaced(namespace, 'pods')}/${name}?gracePeriodSeconds=0`);
}

/** A token as a kubelet asks for: bound to a pod, where one is named, for ten minutes. */
export async function createToken(
  server: KubernetesServer,
  { namespace, name }: { namespace: string; name: string },
  { audience, pod }: { audience?: string; pod?: { readonly name: string; readonly uid: string } } = {},
): Promise<string> {
  const boundObjectRef = pod === undefined ? undefined : { apiVersion: 'v1', kind: 'Pod', ...pod };
  const audiences = audience === undefined ? undefined : [audience];
  const path = `${namespaced(namespace, 'serviceaccounts')}/${name}/token`;
  const answer = (await server.send('POST', path, {
    spec: { audiences, boundObjectRef, expirationSeconds: 600 },
  })) as { status: { token: string } };
  return answer.status.token;
}

const rbac = '/apis/rbac.authorization.k8s.io/v1';

/** Makes a role of these rules, for a service account alone, and returns the path of its binding. */
export async function bindClusterRole(
  server: KubernetesServer,
  { namespace, name }: { namespace: string; name: string },
  rules: readonly object[],
): Promise<string> {
  const role = `${namespace}-${name}`;
  await server.send('POST', `${rbac}/clusterroles`, { metadata: { name: role }, rules });
  await server.send('POST', `${rbac}/clusterrolebindings`, {
    metadata: { name: role },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
    subjects: [{ kind: 'ServiceAccount', namespace, name }],
  });
  return `${rbac}/clusterrolebindings/${role}`;
}

/** A token with the API server's own key, and whatever claims. There must be the service account, whose tokens name the key. */
export async function signAs(
  server: KubernetesServer,
  claims: JWTPayload,
  account = { namespace: 'shop', name: 'web' },
): Promise<string> {
  const key = createPrivateKey(await readFile(join(server.directory, 'pki/sa.key')));
  const { kid } = decodeProtectedHeader(await createToken(server, account));
  return await new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: kid! }).sign(key);
}
