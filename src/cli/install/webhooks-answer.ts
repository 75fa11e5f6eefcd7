import type { KubernetesClient } from '#kubernetes/client.ts';
import { listAt, textAt } from '#kubernetes/json.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { sleep } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { KubernetesObject } from './installations.ts';
import { nameOf, resourceOf } from './kinds.ts';
import type { Waiting } from './readiness.ts';

interface WebhooksWaiting extends Waiting {
  readonly client: Pick<KubernetesClient, 'get' | 'list' | 'ask'>;
}

const pollMs = 250;
/** How the API server begins when it has got no answer. */
const notAnswered = 'failed calling webhook';

/**
 * Until the API server gets answers: pods may be ready before the Service leads to them, and before their roots are in the configurations. A
 * policy that is sent through admission and not kept (`dryRun`) goes the way that those of users go.
 * @throws CellmeshError `install_failed` with the API server's words
 */
export async function untilWebhooksAnswer(
  webhooks: readonly KubernetesObject[],
  namespace: string,
  { client, clock, timeoutMs }: WebhooksWaiting,
): Promise<void> {
  const deadline = clock.monotonic() + timeoutMs;
  for (;;) {
    const why = await whyNot(webhooks, namespace, client);
    if (why === undefined) return;
    if (clock.monotonic() >= deadline) {
      const seconds = Math.round(timeoutMs / 1000);
      const next = `\`kubectl -n ${namespace} logs deployment/cellmesh-control-plane\` may say more`;
      throw new CellmeshError('install_failed', `the webhooks do not answer after ${seconds} s: ${why}; ${next}`);
    }
    await sleep(clock, pollMs);
  }
}

async function whyNot(
  webhooks: readonly KubernetesObject[],
  namespace: string,
  client: WebhooksWaiting['client'],
): Promise<string | undefined> {
  for (const one of webhooks) {
    const now = await client.get(resourceOf(one), { name: one.metadata.name });
    const hasRoots = listAt(now, 'webhooks').every((webhook) => textAt(webhook, 'clientConfig', 'caBundle'));
    if (!hasRoots) return `the control plane has not written its roots into ${nameOf(one)} yet`;
  }
  const policy = {
    ...{ apiVersion: 'cellmesh.io/v1alpha1', kind: 'ServicePolicy', metadata: { name: 'cellmesh-install', namespace } },
    spec: { serviceAccount: 'cellmesh-install', mode: 'enforce', ports: [{ port: 80, protocol: 'http' }] },
  };
  const path = `/apis/cellmesh.io/v1alpha1/namespaces/${namespace}/servicepolicies`;
  const body = { type: 'application/json', text: JSON.stringify(policy) };
  try {
    await client.ask({ method: 'POST', path, query: { dryRun: 'All' }, body, isRepeatable: false });
  } catch (error) {
    if (!(error instanceof KubernetesError)) throw error;
    // Refused, for whatever reason, is answered.
    if (error.message.includes(notAnswered)) return error.message;
  }
  return undefined;
}
