import { startApiServer } from './kubernetes-api-server.ts';
import type { KubernetesPrograms } from './kubernetes-programs.ts';

/** A real API server that says whether it would take a pod. */
export interface PodAdmission extends AsyncDisposable {
  /** Undefined: it would; else what it says. Into a namespace with that level enforced. */
  refusal(pod: object, level: 'restricted' | 'privileged'): Promise<string | undefined>;
}

/** Starts an API server, and makes a namespace for each level. */
export async function startPodAdmission(programs: KubernetesPrograms): Promise<PodAdmission> {
  await using starting = new AsyncDisposableStack();
  const server = starting.use(await startApiServer(programs));
  for (const level of ['restricted', 'privileged']) {
    const labels = { 'pod-security.kubernetes.io/enforce': level };
    const answer = await server.request('POST', '/api/v1/namespaces', { body: { metadata: { name: level, labels } } });
    if (answer.status !== 201) throw new Error(JSON.stringify(answer.body));
  }
  const owned = starting.move();
  return {
    async refusal(pod, level) {
      const target = `/api/v1/namespaces/${level}/pods?dryRun=All&fieldValidation=Strict`;
      const { status, body } = await server.request('POST', target, { body: pod });
      return status === 201 ? undefined : ((body as { message?: string }).message ?? `${status}`);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
