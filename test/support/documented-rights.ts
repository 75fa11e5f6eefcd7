import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { root } from '../tidy/source-files.ts';
import type { KubernetesServer } from './kubernetes.ts';
import { createNamespace, createServiceAccount, createToken } from './kubernetes-objects.ts';

/** A kubeconfig of a control plane that has the rights that docs/operations.md names, and no other. */
export async function grantDocumentedRights(server: KubernetesServer): Promise<string> {
  const page = await readFile(join(root, 'docs/operations.md'), 'utf8');
  const blocks = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text]) => parseDocument(text!).toJS());
  const role = blocks.find(({ kind }) => kind === 'ClusterRole');
  await server.send('POST', '/apis/rbac.authorization.k8s.io/v1/clusterroles', role);
  await createNamespace(server, 'cellmesh');
  await createServiceAccount(server, 'cellmesh', 'control-plane');
  await server.send('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
    metadata: { name: role.metadata.name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role.metadata.name },
    subjects: [{ kind: 'ServiceAccount', namespace: 'cellmesh', name: 'control-plane' }],
  });
  return server.kubeconfigAs(
    'control-plane',
    await createToken(server, { namespace: 'cellmesh', name: 'control-plane' }),
  );
}
