import type { JoinTokenStore, StoredJoinToken } from '#certs/join-token-store.ts';
import { parseSpiffeId } from '#certs/spiffe-id.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { SharedDocument } from './shared-document.ts';
import type { SharedOptions } from './shared-options.ts';

/** A Secret may have 1 MiB, and a token takes some 250 bytes of it. */
const clusterTokensMax = 3_000;

type Tokens = Readonly<
  Record<string, readonly [id: string, createdAt: number, expiresAt: number, redeemedAt?: number]>
>;

/** Join tokens that every replica may create and take: in the Secret `cellmesh-join-tokens`, by their hashes. */
export function clusterJoinTokenStore(options: SharedOptions): JoinTokenStore {
  const tokens = new SharedDocument<Tokens>({
    ...options,
    name: 'cellmesh-join-tokens',
    read: (document) => (document ?? {}) as Tokens,
  });
  const find = async (hash: string) => recordOf(hash, await tokens.read());
  return {
    tokensMax: clusterTokensMax,
    async insert({ hash, id, createdAt, expiresAt }) {
      await tokens.change((current) => {
        if (Object.hasOwn(current, hash)) throw new CellmeshError('conflict', 'there is such a join token already');
        return { ...current, [hash]: [id, createdAt, expiresAt] };
      });
    },
    async redeem(hash, nowMs) {
      const isGood = (token: StoredJoinToken | undefined) =>
        token !== undefined && token.redeemedAt === undefined && nowMs < token.expiresAt;
      const before = await tokens.change((current) => {
        const token = recordOf(hash, current);
        if (!isGood(token)) return undefined;
        return { ...current, [hash]: [token!.id, token!.createdAt, token!.expiresAt, nowMs] };
      });
      const token = recordOf(hash, before);
      return isGood(token) ? token!.id : undefined;
    },
    find,
    async deleteExpired(nowMs) {
      await tokens.change((current) => {
        const rest = Object.entries(current).filter(([, [, , expiresAt]]) => expiresAt > nowMs);
        return rest.length === Object.keys(current).length ? undefined : Object.fromEntries(rest);
      });
    },
    count: async () => Object.keys(await tokens.read()).length,
  };
}

function recordOf(hash: string, tokens: Tokens): StoredJoinToken | undefined {
  if (!Object.hasOwn(tokens, hash)) return undefined;
  const [id, createdAt, expiresAt, redeemedAt] = tokens[hash]!;
  return { hash, id: parseSpiffeId(id), createdAt, expiresAt, redeemedAt };
}
