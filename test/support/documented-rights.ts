import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { root } from '../tidy/source-files.ts';
import type { KubernetesServer } from './kubernetes.ts';
import { createNamespace, createServiceAccount, createToken } from './kubernetes-objects.ts';

interface Role {
  readonly kind: 'Role' | 'ClusterRole';
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

const account = { namespace: 'cellmesh', name: 'control-plane' };

/** A kubeconfig of a control plane that has the rights that docs/operations.md names, and no other. */
export async function grantDocumentedRights(server: KubernetesServer): Promise<string> {
  const page = await readFile(join(root, 'docs/operations.md'), 'utf8');
  const blocks = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text]) => parseDocument(text!).toJS());
  const roles = blocks.filter(({ metadata }) => metadata?.name === 'cellmesh-control-plane') as Role[];
  await createNamespace(server, account.namespace);
  await createServiceAccount(server, account.namespace, account.name);
  for (const role of roles) await grant(server, role);
  return server.kubeconfigAs('control-plane', await createToken(server, account));
}

/** Where the role is. */
async function grant(server: KubernetesServer, role: Role): Promise<void> {
  const { name, namespace } = role.metadata;
  const api = '/apis/rbac.authorization.k8s.io/v1';
  const path = namespace === undefined ? `${api}/cluster` : `${api}/namespaces/${namespace}/`;
  await server.send('POST', `${path}roles`, role);
  await server.send('POST', `${path}rolebindings`, {
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: role.kind, name },
    subjects: [{ kind: 'ServiceAccount', ...account }],
  });
}
