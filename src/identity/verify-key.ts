import { plainAddress } from '#net/plain-address.ts';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError, isCellmeshError } from '#runtime/errors.ts';
import type { Secret } from '#runtime/secret.ts';
import { parseApiKey } from '#tokens/api-key.ts';
import type { RateLimiter } from '#traffic/gcra.ts';
import { type ApiKeyRecord, type IdentityStore, unusableBecause } from './identity-store.ts';
import type { KeyDigests } from './key-digest.ts';

type KeyRefusal = 'key_unknown' | 'key_mismatch' | 'key_revoked' | 'key_expired';

export interface VerifyKeyDependencies {
  readonly store: IdentityStore;
  readonly digests: KeyDigests;
  readonly tagKey: Secret<Buffer>;
  readonly attempts: RateLimiter;
  readonly clock: Clock;
}

/** Wrong guesses at one key from one neighbourhood (IDENTITY B.9). */
const attemptRate = { perMinute: 10, burst: 20 };

/**
 * Whether a secret belongs to a usable key of `user` (an account or key id): the one place where digests are compared. Writes nothing.
 * @throws CellmeshError `rpc_rate_limited`, `identity_busy`
 */
export async function verifyKey(
  { user, secret, clientAddress }: { user: string; secret: Secret<string>; clientAddress: string },
  { store, digests, tagKey, attempts, clock }: VerifyKeyDependencies,
): Promise<ApiKeyRecord | KeyRefusal> {
  const locator = locatorOf(secret, tagKey);
  const key = locator === undefined ? undefined : store.keyByLocator(locator);
  if (key === undefined) return 'key_unknown';
  if (key.accountId !== user && key.keyId !== user) return 'key_mismatch';
  const waitMs = attempts.take(attemptRate, `${key.locator} ${neighbourhoodOf(clientAddress)}`);
  if (waitMs > 0)
    throw new CellmeshError('rpc_rate_limited', `too many attempts at one key; try again in ${Math.ceil(waitMs)} ms`, {
      retryable: true,
    });
  if (!(await digests.verify(secret, key.digest))) return 'key_mismatch';
  return unusableBecause(key, clock.now()) ?? key;
}

function locatorOf(secret: Secret<string>, tagKey: Secret<Buffer>): string | undefined {
  try {
    return parseApiKey(secret.reveal(), tagKey).locator;
  } catch (error) {
    if (isCellmeshError(error, 'api_key_invalid')) return undefined;
    throw error;
  }
}

/** The /24 of an IPv4 address, the /56 of an IPv6 one. */
export function neighbourhoodOf(address: string): string {
  const plain = plainAddress(address);
  if (plain.includes('.')) return plain.split('.', 3).join('.');
  const [head = '', tail] = plain.split('::', 2);
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...Array<string>(zeros).fill('0'), ...right].map((group) => Number.parseInt(group, 16) || 0);
  return groups
    .slice(0, 4)
    .map((group, index) => (index === 3 ? group >> 8 : group).toString(16))
    .join(':');
}
