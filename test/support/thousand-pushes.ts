import { activePolicy } from '#sidecar/active-policy.ts';
import type { Mesh } from './start-mesh.ts';

const pushes = 1_000;
const everyPushes = 100;

/**
 * A thousand times a new policy that allows the same and another certificate, on both sides of a call. `stillThere` is called before, every
 * hundred times in between, and after, with a word that is new each time.
 */
export async function pushThousandTimes(mesh: Mesh, stillThere: (word: string) => Promise<void>): Promise<void> {
  const { api, messaging } = mesh.services;
  const services = await Promise.all(
    [api, messaging].map(async (service) => ({
      service,
      allowed: service.policy.current!.snapshot,
      identities: [await service.issue(), await service.issue()],
    })),
  );
  await stillThere('before');
  for (let push = 0; push < pushes; push++) {
    for (const { service, allowed, identities } of services) {
      service.policy.set(activePolicy({ ...allowed, version: `${push}` }));
      service.identity.set(identities[push % 2]!);
    }
    if (push % everyPushes === 0) await stillThere(`after ${push}`);
  }
  await stillThere('at the end');
  for (const { service, allowed } of services) service.policy.set(activePolicy(allowed));
}
