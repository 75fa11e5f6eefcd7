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
  await createNamespace(server, 'cellmesh');
  await createServiceAccount(server, 'cellmesh', 'control-plane');
  const subjects = [{ kind: 'ServiceAccount', namespace: 'cellmesh', name: 'control-plane' }];
  const name = 'cellmesh-control-plane';
  for (const kind of ['ClusterRole', 'Role']) {
    const role = blocks.find((block) => block.kind === kind && block.metadata.name === name);
    const path = `/apis/rbac.authorization.k8s.io/v1${kind === 'Role' ? '/namespaces/cellmesh' : ''}`;
    await server.send('POST', `${path}/${kind.toLowerCase()}s`, role);
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind, name };
    await server.send('POST', `${path}/${kind.toLowerCase()}bindings`, { metadata: { name }, roleRef, subjects });
  }
  return server.kubeconfigAs(
    'control-plane',
    await createToken(server, { namespace: 'cellmesh', name: 'control-plane' }),
  );
}
