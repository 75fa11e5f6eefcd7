import type { KubernetesClient } from '#kubernetes/client.ts';
import { listAt, numberAt, textAt, valueAt } from '#kubernetes/json.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { KubernetesObject } from './installations.ts';
import { nameOf, resourceOf, wholePods } from './kinds.ts';

export interface Waiting {
  readonly client: Pick<KubernetesClient, 'get' | 'list'>;
  readonly clock: Clock;
  readonly timeoutMs: number;
}

const pollMs = 500;

/** Until the API server knows the kind that it defines. */
export async function untilEstablished(object: KubernetesObject, waiting: Waiting): Promise<void> {
  const isEstablished = (now: KubernetesObject) =>
    listAt(now, 'status', 'conditions').some(
      (one) => textAt(one, 'type') === 'Established' && textAt(one, 'status') === 'True',
    );
  await until(object, waiting, isEstablished, async () => 'the API server does not take it; `kubectl describe` it');
}

/** Until as many pods of a Deployment or StatefulSet as it wants, or `atLeast`, are of its newest version and ready. */
export async function untilReady(object: KubernetesObject, waiting: Waiting, atLeast?: number): Promise<void> {
  const isReady = (now: KubernetesObject) => {
    const wanted = numberAt(now, 'spec', 'replicas') ?? 1;
    const isSeen =
      (numberAt(now, 'status', 'observedGeneration') ?? 0) >= (numberAt(now, 'metadata', 'generation') ?? 0);
    const available = numberAt(now, 'status', 'availableReplicas') ?? 0;
    const updated = numberAt(now, 'status', 'updatedReplicas') ?? 0;
    return isSeen && Math.min(available, updated) >= Math.min(wanted, atLeast ?? wanted);
  };
  await until(object, waiting, isReady, () => whyNot(object, waiting));
}

async function until(
  object: KubernetesObject,
  { client, clock, timeoutMs }: Waiting,
  isReached: (now: KubernetesObject) => boolean,
  why: () => Promise<string>,
): Promise<void> {
  const { name, namespace } = object.metadata;
  const deadline = clock.monotonic() + timeoutMs;
  while (!isReached(await client.get(resourceOf(object), { name, ...(namespace !== undefined && { namespace }) }))) {
    if (clock.monotonic() >= deadline) {
      const seconds = Math.round(timeoutMs / 1000);
      throw new CellmeshError('install_failed', `${nameOf(object)} is not ready after ${seconds} s: ${await why()}`);
    }
    await sleep(clock, pollMs);
  }
}

/** What its pods wait for, in the words of the kubelet. */
async function whyNot(object: KubernetesObject, { client }: Waiting): Promise<string> {
  const labels = Object.entries(valueAt(object, 'spec', 'selector', 'matchLabels') as Record<string, string>);
  const { namespace, name } = object.metadata;
  const labelSelector = labels.map(([key, value]) => `${key}=${value}`).join(',');
  const reasons: string[] = [];
  for await (const { items } of client.list(wholePods, { namespace: namespace!, labelSelector })) {
    for (const pod of items) reasons.push(...waitingOf(pod).map((reason) => `${pod.metadata.name}: ${reason}`));
  }
  const next = `kubectl -n ${namespace} logs ${object.kind.toLowerCase()}/${name}`;
  return reasons.length === 0
    ? `it has no pods; \`kubectl -n ${namespace} get events\` says why`
    : `${reasons.join('; ')}; \`${next}\` says more`;
}

function waitingOf(pod: KubernetesObject): string[] {
  const statuses = listAt(pod, 'status', 'containerStatuses');
  const containers = statuses.map((status) => {
    const state = valueAt(status, 'state', 'waiting') ?? valueAt(status, 'state', 'terminated');
    return state === undefined ? '' : [textAt(state, 'reason'), textAt(state, 'message')].filter(Boolean).join(': ');
  });
  const conditions = listAt(pod, 'status', 'conditions')
    .filter((one) => textAt(one, 'status') === 'False' && textAt(one, 'message') !== undefined)
    .map((one) => textAt(one, 'message')!);
  const reasons = containers.filter((reason) => reason !== '');
  return reasons.length > 0 ? reasons : conditions.slice(0, 1);
}
