import type { JoinedByToken } from '#kubernetes/joined-by-token.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { SharedDocument } from './shared-document.ts';
import type { SharedOptions } from './shared-options.ts';

/** Services with machines outside of the cluster; a Secret may have 1 MiB. */
const idsMax = 3_000;

/** Who has joined by a token at whichever replica: in the Secret `cellmesh-joined-by-token`. */
export function clusterJoinedByToken(options: SharedOptions): JoinedByToken {
  const ids = new SharedDocument<readonly string[]>({
    ...options,
    name: 'cellmesh-joined-by-token',
    read: (document) => (Array.isArray(document) ? document : []),
  });
  return {
    async add(id) {
      await ids.change((current) => {
        if (current.includes(id)) return undefined;
        if (current.length >= idsMax)
          throw new CellmeshError('attestation_rejected', `${idsMax} workloads have joined by tokens`);
        return [...current, id].sort();
      });
    },
    has: async (id) => (await ids.read()).includes(id),
  };
}
