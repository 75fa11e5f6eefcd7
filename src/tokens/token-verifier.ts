import type { Clock } from '#runtime/clock.ts';
import type { Watch } from '#runtime/watch.ts';
import type { KeySet } from './key-set.ts';
import { TokenRejected } from './token-reasons.ts';
import { keyNameOf, skewMs, type VerifiedToken, verifyToken } from './verify.ts';

interface TokenVerifierOptions {
  readonly keySet: Watch<KeySet>;
  readonly audience: string;
  readonly clock: Clock;
  /** Asks who knows for a key that the set lacks; resolves when the answer, whatever it is, has reached `keySet`. */
  readonly askForKey?: (iss: string, kid: string) => Promise<void>;
  /** Verified tokens kept. One costs about 2 KiB beside its text. */
  readonly tokensMax?: number;
}

const tokensMaxDefault = 10_000;
/** Refusals are kept too: a client that repeats a bad token must not cost a signature check each time. */
const refusalsMax = 1_000;
const refusalKeptMs = 5_000;
/** A flood of random key ids makes one question in this time, whoever asks (DESIGN.md 7). */
export const askEveryMs = 30_000;

interface Refusal {
  readonly error: TokenRejected;
  readonly until: number;
}

/**
 * Verifies tokens and remembers what it verified. An entry belongs to this audience and to one version of the key set: when the
 * keys change, everything that was remembered is forgotten, so a cache can never outlive the key that filled it.
 */
export class TokenVerifier implements Disposable {
  readonly #options: TokenVerifierOptions;
  readonly #verified = new Map<string, VerifiedToken>();
  readonly #refused = new Map<string, Refusal>();
  readonly #unsubscribe: () => void;
  #last: VerifiedToken | undefined;
  #lastText = '';
  #question: Promise<void> | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(options: TokenVerifierOptions) {
    this.#options = options;
    this.#unsubscribe = options.keySet.subscribe(() => this.#forget());
  }

  /** Tokens remembered as verified. */
  get size(): number {
    return this.#verified.size;
  }

  /**
   * The verified token, where it is remembered and still good at this moment: synchronous, for the path of every request.
   * @throws TokenRejected `token_expired`, or what the token was refused with a moment ago
   */
  lookup(text: string, nowMs = this.#options.clock.now()): VerifiedToken | undefined {
    // Consecutive requests of a connection mostly carry the same token: one comparison instead of hashing 700 characters.
    const token = this.#last !== undefined && this.#lastText === text ? this.#last : this.#verified.get(text);
    if (token === undefined) {
      const refusal = this.#refused.get(text);
      if (refusal !== undefined && refusal.until > nowMs) throw refusal.error;
      return undefined;
    }
    if (token.expiresAt + skewMs <= nowMs) {
      this.#verified.delete(text);
      if (this.#last === token) this.#last = undefined;
      throw new TokenRejected('token_expired', 'the token has expired');
    }
    this.#last = token;
    this.#lastText = text;
    return token;
  }

  /** @throws TokenRejected */
  async verify(text: string): Promise<VerifiedToken> {
    const known = this.lookup(text);
    if (known !== undefined) return known;
    try {
      return await this.#verifyWithFreshKeys(text);
    } catch (error) {
      if (error instanceof TokenRejected && error.reason !== 'token_key_unknown') {
        remember(this.#refused, text, { error, until: this.#options.clock.now() + refusalKeptMs }, refusalsMax);
      }
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
    this.#forget();
  }

  async #verifyWithFreshKeys(text: string): Promise<VerifiedToken> {
    try {
      return await this.#verifyNow(text);
    } catch (error) {
      const isUnknownKey = error instanceof TokenRejected && error.reason === 'token_key_unknown';
      if (!isUnknownKey || !(await this.#hasAsked(text))) throw error;
      return await this.#verifyNow(text);
    }
  }

  /**
   * A key set that changes while a signature is checked makes the result worthless: it is checked again. What is kept is kept before anything else
   * can happen: later the keys may be others.
   */
  async #verifyNow(text: string): Promise<VerifiedToken> {
    for (;;) {
      const keySet = this.#options.keySet.current;
      const token = await verifyToken(text, {
        keySet,
        audience: this.#options.audience,
        nowMs: this.#options.clock.now(),
      });
      if (this.#options.keySet.current !== keySet) continue;
      this.#dropExpired();
      remember(this.#verified, text, token, this.#options.tokensMax ?? tokensMaxDefault);
      return token;
    }
  }

  /** Asks for the key, or joins the question under way; false when nobody may be asked now. */
  async #hasAsked(text: string): Promise<boolean> {
    const { askForKey, clock } = this.#options;
    if (askForKey === undefined) return false;
    if (this.#question === undefined) {
      if (clock.monotonic() - this.#askedAt < askEveryMs) return false;
      this.#askedAt = clock.monotonic();
      const { iss, kid } = keyNameOf(text);
      this.#question = askForKey(iss, kid)
        .catch(() => {})
        .finally(() => {
          this.#question = undefined;
        });
    }
    await this.#question;
    return true;
  }

  /** Tokens live about as long as each other: the oldest entries are the first to end, and nobody asks for them again. */
  #dropExpired(): void {
    const now = this.#options.clock.now();
    for (const [text, { expiresAt }] of this.#verified) {
      if (expiresAt + skewMs > now) return;
      this.#verified.delete(text);
    }
  }

  #forget(): void {
    this.#verified.clear();
    this.#refused.clear();
    this.#last = undefined;
  }
}

/** A full map loses its oldest entry: tokens live about as long as each other. */
function remember<V>(map: Map<string, V>, key: string, value: V, limit: number): void {
  if (map.size >= limit) {
    const oldest = map.keys().next().value;
    if (oldest !== undefined) map.delete(oldest);
  }
  map.set(key, value);
}
