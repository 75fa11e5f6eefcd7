import { createHash } from 'node:crypto';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Random } from '#runtime/random.ts';
import { Secret } from '#runtime/secret.ts';
import type { JoinTokenStore } from './join-token-store.ts';
import { isReservedId } from './reserved-ids.ts';
import { pathOf, type SpiffeId } from './spiffe-id.ts';

/** `cmj1_` and 43 characters of base64url: 256 random bits. The prefix lets secret scanners find one that leaked. */
const joinTokenPrefix = 'cmj1_';
export const joinTokenLifetimeMs = 10 * 60_000;
/** Created by administrators only; the bound keeps a script that loops from filling the store. */
export const outstandingJoinTokensMax = 10_000;

const randomBytesCount = 32;
const tokenPattern = /^cmj1_[A-Za-z0-9_-]{43}$/;

export type JoinTokenReason = 'malformed' | 'unknown' | 'expired' | 'used';

/** One answer for whoever presents it; `reason` is for the log of the authority. */
export class JoinTokenRejected extends CellmeshError {
  readonly reason: JoinTokenReason;

  constructor(reason: JoinTokenReason) {
    super('join_token_rejected', 'the join token is not valid: each works once, within ten minutes; create a new one');
    this.name = 'JoinTokenRejected';
    this.reason = reason;
  }
}

interface CreatedJoinToken {
  /** Shown once: the store keeps its hash. */
  readonly token: Secret<string>;
  readonly id: SpiffeId;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

interface JoinTokensOptions {
  readonly store: JoinTokenStore;
  readonly clock: Clock;
  readonly random: Random;
}

/** Tokens that let a new workload ask for its first SVID: bound to one SPIFFE ID, good once, for ten minutes. */
export class JoinTokens {
  readonly #store: JoinTokenStore;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor({ store, clock, random }: JoinTokensOptions) {
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
  }

  /**
   * `allowReserved` is for the bootstrap of the mesh's own processes; no request of a user ever sets it.
   * @throws CellmeshError `join_token_refused`
   */
  async create(request: { id: SpiffeId; lifetimeMs?: number; allowReserved?: boolean }): Promise<CreatedJoinToken> {
    const { id, lifetimeMs = joinTokenLifetimeMs, allowReserved = false } = request;
    if (pathOf(id) === '') throw refused(`${id} is the ID of an authority`);
    if (isReservedId(id) && !allowReserved) throw refused(`${id} is reserved for the mesh's own processes`);
    if (!(lifetimeMs > 0 && lifetimeMs <= joinTokenLifetimeMs)) {
      throw refused(`the lifetime is not between 1 and ${joinTokenLifetimeMs} ms`);
    }
    const now = this.#clock.now();
    await this.#store.deleteExpired(now);
    const tokensMax = this.#store.tokensMax ?? outstandingJoinTokensMax;
    if ((await this.#store.count()) >= tokensMax) throw refused(`${tokensMax} join tokens are outstanding`);
    const text = `${joinTokenPrefix}${this.#random.bytes(randomBytesCount).toString('base64url')}`;
    const expiresAt = now + lifetimeMs;
    await this.#store.insert({ hash: hashOf(text), id, createdAt: now, expiresAt });
    return { token: new Secret(text), id, expiresAt };
  }

  /**
   * Spends a token and says whose it was. Two that present one token at once: one of them gets the ID.
   * @throws JoinTokenRejected
   */
  async redeem(text: string): Promise<SpiffeId> {
    if (!tokenPattern.test(text)) throw new JoinTokenRejected('malformed');
    const hash = hashOf(text);
    const now = this.#clock.now();
    const id = await this.#store.redeem(hash, now);
    if (id !== undefined) return id;
    const record = await this.#store.find(hash);
    if (record === undefined) throw new JoinTokenRejected('unknown');
    throw new JoinTokenRejected(record.redeemedAt === undefined ? 'expired' : 'used');
  }
}

/** A token has 256 bits of its own: a plain hash cannot be turned back, and salt or stretching would add nothing. */
function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function refused(reason: string): CellmeshError {
  return new CellmeshError('join_token_refused', `no join token is created: ${reason}`);
}
