import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import { KeySet, parseKeySet, serializeKeySet, type VerificationKey } from '#tokens/key-set.ts';
import type { IdentityStore } from './identity-store.ts';

interface RouterKeysOptions {
  readonly store: IdentityStore;
  readonly tokenIssuer: string;
  /** Identity's own keys, published beside the routers'. */
  readonly own: readonly VerificationKey[];
  readonly clock: Clock;
}

const jwkBytesMax = 2048;

/**
 * The keys that tokens of this planet are verified with. A router's key is its own: it is registered over mutual TLS, bound to the router's
 * SPIFFE ID, and signs cell tokens only.
 */
export class RouterKeys {
  readonly #options: RouterKeysOptions;
  readonly #keySet: WatchSource<KeySet>;

  constructor(options: RouterKeysOptions) {
    this.#options = options;
    this.#keySet = new WatchSource(this.#load());
  }

  get keySet(): Watch<KeySet> {
    return this.#keySet;
  }

  /** @throws CellmeshError `request_invalid`: no public P-256 key */
  register(jwk: string, owner: SpiffeId): { iss: string; kid: string } {
    const { store, tokenIssuer: iss, clock } = this.#options;
    if (jwk.length > jwkBytesMax) throw new CellmeshError('request_invalid', `a key has at most ${jwkBytesMax} bytes`);
    const key = this.#parse(jwk, owner);
    if (this.#keySet.current.find(iss, key.kid)?.owner === owner) return { iss, kid: key.kid };
    if (this.#keySet.current.find(iss, key.kid) !== undefined)
      throw new CellmeshError('conflict', 'the key belongs to somebody else');
    store.putRouterKey({ kid: key.kid, owner, jwk: serializeKeySet(new KeySet([key])) }, clock.now());
    this.#keySet.set(this.#load());
    return { iss, kid: key.kid };
  }

  #parse(jwk: string, owner: SpiffeId): VerificationKey {
    try {
      const { kty, crv, x, y, kid } = JSON.parse(jwk) as Record<string, unknown>;
      const entry = { kty, crv, x, y, kid, alg: 'ES256', iss: this.#options.tokenIssuer, kind: 'cell', owner };
      return parseKeySet(JSON.stringify({ keys: [entry] })).keys()[0]!;
    } catch (cause) {
      throw new CellmeshError('request_invalid', `this is no public key on P-256: ${messageOf(cause)}`, { cause });
    }
  }

  #load(): KeySet {
    const { store, own } = this.#options;
    return new KeySet([...own, ...store.routerKeys().flatMap(({ jwk }) => parseKeySet(jwk).keys())]);
  }
}
