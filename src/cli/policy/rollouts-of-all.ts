import type { ApiClient } from '#api/api-client.ts';
import { type Rollout, Rollouts } from '#api/generated/cellmesh/policy/v1/rollouts_pb.ts';

type Counts = Pick<Rollout, 'allowed' | 'newlyDenied' | 'newlyAllowed'>;

/** Candidates with the counts of all replicas of a control plane: each sidecar reports to one of them. @throws CellmeshError as `ApiClient.call` */
export async function rolloutsOfAll(
  clients: readonly Pick<ApiClient, 'call'>[],
  signal?: AbortSignal,
): Promise<readonly Rollout[]> {
  const lists = await Promise.all(clients.map((client) => client.call(Rollouts.method.list, {}, signal)));
  const told = lists.flatMap(({ rollouts }) => rollouts);
  return [...Map.groupBy(told, ({ service, version }) => `${service} ${version}`).values()].map(mergedRollout);
}

/** @param told of one candidate, by each replica */
function mergedRollout(told: readonly Rollout[]): Rollout {
  const withdrawn = told.flatMap(({ withdrawnAtMs }) => withdrawnAtMs ?? []);
  return {
    ...told[0]!,
    ...(told.length > 1 && sumOf([...latestRuns(told)])),
    ...(withdrawn.length > 0 && { withdrawnAtMs: BigInt(Math.min(...withdrawn.map(Number))) }),
    isOverWithoutReturn: told.some(({ isOverWithoutReturn }) => isOverWithoutReturn),
  };
}

/** Of each run what it told last: counts only rise, and whoever changes from one replica to another tells them anew. */
function latestRuns(told: readonly Rollout[]): Iterable<Counts> {
  const latest = new Map<string, Counts>();
  for (const counts of told.flatMap(({ runs }) => runs)) {
    const before = latest.get(counts.run);
    if (before === undefined || total(before) < total(counts)) latest.set(counts.run, counts);
  }
  return latest.values();
}

function total({ allowed, newlyAllowed }: Counts): bigint {
  return allowed + newlyAllowed;
}

function sumOf(all: readonly Counts[]): Counts {
  const sum = { allowed: 0n, newlyDenied: 0n, newlyAllowed: 0n };
  for (const { allowed, newlyDenied, newlyAllowed } of all) {
    sum.allowed += allowed;
    sum.newlyDenied += newlyDenied;
    sum.newlyAllowed += newlyAllowed;
  }
  return sum;
}
