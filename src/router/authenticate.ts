import type { Clock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import type { Secret } from '#runtime/secret.ts';
import { parseApiKey } from '#tokens/api-key.ts';
import { type BasicCredentials, parseBasicCredentials } from '#tokens/authorization-basic.ts';
import type { ApiKeyStatus, KeyStatusDocument } from '#tokens/key-status.ts';
import { BoundedMap } from '#traffic/bounded-map.ts';
import type { RateLimiter } from '#traffic/gcra.ts';
import { SingleFlight } from '#traffic/single-flight.ts';
import type { MatchCache } from './match-cache.ts';

/** Port: asks identity whether a secret belongs to a key. */
type VerifyCold = (user: string, secret: Secret<string>, clientAddress: string) => Promise<'match' | KeyRefusal>;

/** Why credentials are refused. It stands in the decision record; the client sees one text for all (IDENTITY B.13). */
export type KeyRefusal = 'key_unknown' | 'key_mismatch' | 'key_revoked' | 'key_expired';

export type Authentication =
  | { readonly tag: 'known'; readonly key: ApiKeyStatus; readonly degraded: string | undefined }
  | { readonly tag: 'missing' }
  | { readonly tag: 'rejected'; readonly why: KeyRefusal | 'credentials_malformed' }
  /** Nobody can know now: never a pass, and never a no. */
  | { readonly tag: 'unavailable'; readonly why: string; readonly retryAfterSeconds: number }
  | { readonly tag: 'limited'; readonly retryAfterSeconds: number };

interface AuthenticatorOptions {
  /** The newest word of identity about all keys; undefined before the first. */
  readonly status: () => KeyStatusDocument | undefined;
  /** Milliseconds since identity last stood by it. */
  readonly statusAgeMs: () => number;
  readonly matches: MatchCache;
  readonly verifyCold: VerifyCold;
  readonly coldLimiter: RateLimiter;
  readonly clock: Clock;
}

/** Beyond this without a word of identity, its keys' status is a guess: warm keys go on, marked, and nobody new is let in. */
const freshMsMax = 20_000;
/** How long warm keys go on (IDENTITY B.12). */
const degradedMsMax = 4 * 3600_000;
/** First uses of keys from one address. A warm key is never counted, whatever comes from its neighbours. */
const coldRate = { perMinute: 120, burst: 60 };
/** Wrong secrets that have the right tag: somebody else's key, or an old one. Remembered for a moment. */
const refusalsMax = 65_536;
const refusalKeptMs = 30_000;
const retryAfterSeconds = 2;

interface Refused {
  readonly why: KeyRefusal;
  readonly until: number;
}

/**
 * From a header to a key. What costs least comes first: form, tag, status, memory; only a key that this router has not seen yet goes to identity,
 * once for however many ask at the same time (IDENTITY B.7, B.8).
 */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #flights: SingleFlight<'match' | KeyRefusal>;
  readonly #refused = new BoundedMap<string, Refused>(refusalsMax);

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    this.#flights = new SingleFlight(options.clock);
  }

  async authenticate(header: string | undefined, clientAddress: string): Promise<Authentication> {
    if (header === undefined) return { tag: 'missing' };
    const credentials = parseBasicCredentials(header);
    if (credentials === undefined) return { tag: 'rejected', why: 'credentials_malformed' };
    const { status, statusAgeMs, matches, clock } = this.#options;
    const document = status();
    if (document === undefined || statusAgeMs() > degradedMsMax) return unavailable('identity has not told the keys');
    const locator = locatorOf(credentials.password, document.tagKey);
    if (locator === undefined) return { tag: 'rejected', why: 'key_unknown' };
    const isFresh = statusAgeMs() <= freshMsMax;
    const key = document.keys.get(locator);
    if (key === undefined)
      return isFresh
        ? { tag: 'rejected', why: 'key_unknown' }
        : unavailable('the key is not known, and identity cannot be asked');
    const refusal = refusalOf(key, credentials.user, clock.now());
    if (refusal !== undefined) return { tag: 'rejected', why: refusal };
    if (matches.has(locator, key.version, credentials.password))
      return { tag: 'known', key, degraded: isFresh ? undefined : 'key_status_old' };
    return this.#cold(credentials, key, clientAddress);
  }

  async #cold({ user, password }: BasicCredentials, key: ApiKeyStatus, clientAddress: string): Promise<Authentication> {
    const { matches, verifyCold, coldLimiter, clock } = this.#options;
    const flightKey = `${key.locator} ${matches.macOf(password).toString('base64')}`;
    const refused = this.#refused.get(flightKey);
    if (refused !== undefined && refused.until > clock.now()) return { tag: 'rejected', why: refused.why };
    const waitMs = coldLimiter.take(coldRate, clientAddress);
    if (waitMs > 0) return { tag: 'limited', retryAfterSeconds: Math.ceil(waitMs / 1000) };
    try {
      const verdict = await this.#flights.run(flightKey, () => verifyCold(user, password, clientAddress));
      if (verdict === 'match') {
        matches.add(key.locator, key.version, password);
        return { tag: 'known', key, degraded: undefined };
      }
      this.#refused.set(flightKey, { why: verdict, until: clock.now() + refusalKeptMs });
      return { tag: 'rejected', why: verdict };
    } catch (error) {
      if (isCellmeshError(error, 'rpc_rate_limited')) return { tag: 'limited', retryAfterSeconds };
      if (isCellmeshError(error) && error.retryable) return unavailable(error.message);
      throw error;
    }
  }
}

function refusalOf(key: ApiKeyStatus, user: string, nowMs: number): KeyRefusal | undefined {
  if (user !== key.accountId && user !== key.keyId) return 'key_mismatch';
  if (key.state === 'revoked') return 'key_revoked';
  return key.notAfter !== undefined && key.notAfter <= nowMs ? 'key_expired' : undefined;
}

function locatorOf(secret: Secret<string>, tagKey: Secret<Buffer>): string | undefined {
  try {
    return parseApiKey(secret.reveal(), tagKey).locator;
  } catch (error) {
    if (isCellmeshError(error, 'api_key_invalid')) return undefined;
    throw error;
  }
}

function unavailable(why: string): Authentication {
  return { tag: 'unavailable', why, retryAfterSeconds };
}
