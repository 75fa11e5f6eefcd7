import { KubernetesClient } from '#kubernetes/client.ts';
import { readClusterAccess } from '#kubernetes/cluster-access.ts';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { type ApiServer, startApiServer } from './kubernetes-api-server.ts';
import type { KubernetesPrograms } from './kubernetes-programs.ts';

/** An API server, and the product's clients of it. */
export interface KubernetesServer extends ApiServer {
  /** As the administrator. */
  readonly client: KubernetesClient;
  /** A client that is somebody by a bearer token. */
  clientAs(token: string): Promise<KubernetesClient>;
  /** Any request as the administrator; the answer as JSON. Rejects on refusals. */
  send(
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    body?: object,
  ): Promise<Record<string, unknown>>;
}

export async function startKubernetes(programs: KubernetesPrograms): Promise<KubernetesServer> {
  await using starting = new AsyncDisposableStack();
  const server = starting.use(await startApiServer(programs));
  const clients = new AsyncDisposableStack();
  starting.use(clients);
  const clientOf = async (file: string) => {
    const access = await readClusterAccess(file, {});
    return clients.use(await KubernetesClient.open({ access, clock: systemClock, random: systemRandom }));
  };
  const client = await clientOf(server.kubeconfig);
  const owned = starting.move();
  return {
    ...server,
    client,
    clientAs: async (token) => clientOf(await server.kubeconfigAs('other', token)),
    async send(method, path, body) {
      const contentType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
      const answer = await server.request(method, path, { contentType, ...(body && { body }) });
      if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
      return (typeof answer.body === 'object' ? answer.body : {}) as Record<string, unknown>;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
