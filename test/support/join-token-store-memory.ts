import assert from 'node:assert/strict';
import type { JoinTokenStore, StoredJoinToken } from '#certs/join-token-store.ts';

/** The fake beside the SQLite store; both are held to one contract. */
export function memoryJoinTokenStore(): JoinTokenStore {
  const tokens = new Map<string, StoredJoinToken>();
  return {
    insert(record) {
      assert.ok(!tokens.has(record.hash));
      tokens.set(record.hash, { ...record, redeemedAt: undefined });
    },
    redeem(hash, nowMs) {
      const token = tokens.get(hash);
      if (token === undefined || token.redeemedAt !== undefined || nowMs >= token.expiresAt) return undefined;
      tokens.set(hash, { ...token, redeemedAt: nowMs });
      return token.id;
    },
    find: (hash) => tokens.get(hash),
    deleteExpired(nowMs) {
      for (const { hash, expiresAt } of [...tokens.values()]) if (expiresAt <= nowMs) tokens.delete(hash);
    },
    count: () => tokens.size,
  };
}
