import type { KubernetesServer } from './kubernetes.ts';

/** Says that all pods of a Deployment are ready and of its newest version, as its controller would. */
export async function setDeploymentReady(server: KubernetesServer, namespace: string, name: string): Promise<void> {
  const path = `/apis/apps/v1/namespaces/${namespace}/deployments/${name}`;
  const { metadata, spec } = (await server.send('GET', path)) as {
    metadata: { generation: number };
    spec: { replicas: number };
  };
  const { replicas } = spec;
  const ready = { readyReplicas: replicas, availableReplicas: replicas };
  const status = { observedGeneration: metadata.generation, replicas, updatedReplicas: replicas, ...ready };
  await server.send('PATCH', `${path}/status`, { status });
}
