import type { SpiffeId } from './spiffe-id.ts';

type Awaitable<T> = T | Promise<T>;

interface JoinTokenRecord {
  /** SHA-256 of the token's text, lower-case hex: the token itself is stored nowhere. */
  readonly hash: string;
  readonly id: SpiffeId;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly expiresAt: number;
}

export interface StoredJoinToken extends JoinTokenRecord {
  readonly redeemedAt: number | undefined;
}

/**
 * Where join tokens are kept. Implementations are held to `test/certs/join-token-store-contract.ts`. Calls are durable: when
 * `redeem` has returned, or resolved, no crash brings the token back.
 */
export interface JoinTokenStore {
  insert(record: JoinTokenRecord): Awaitable<void>;
  /** Compare-and-set: marks the token as spent and returns its ID, only if it is there, unspent, and `nowMs < expiresAt`. */
  redeem(hash: string, nowMs: number): Awaitable<SpiffeId | undefined>;
  find(hash: string): Awaitable<StoredJoinToken | undefined>;
  /** Forgets tokens, spent or not, that ended at `nowMs` or before. */
  deleteExpired(nowMs: number): Awaitable<void>;
  /** How many are kept, spent ones included. */
  count(): Awaitable<number>;
  /** How many it can keep; without it as many as anybody may create. */
  readonly tokensMax?: number;
}
