import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';
import type { Secret } from '#runtime/secret.ts';
import type { AccountPlace } from '#tokens/account-map.ts';
import type { CellEntry } from '#tokens/cell-directory.ts';
import type { ApiKeyStatus } from '#tokens/key-status.ts';
import { mintToken } from '#tokens/mint.ts';
import type { SigningKey } from '#tokens/signing-key.ts';
import { cellTokenLifetimeMsMax } from '#tokens/verify.ts';
import { BoundedMap } from '#traffic/bounded-map.ts';

interface CellTokensOptions {
  readonly key: SigningKey;
  readonly routerId: SpiffeId;
  readonly clock: Clock;
  readonly random: Random;
}

/** A token is handed out while a minute of its five is left, less at random, so that busy keys are not all minted anew at once. */
const usedMsMax = 240_000;
const jitterMs = 30_000;
const tokensMax = 100_000;
const idBytes = 12;

interface Minted {
  readonly token: Promise<Secret<string>>;
  readonly useUntil: number;
}

/** Five-minute tokens for a cell, one for all requests of a key with the same rights (IDENTITY C.3). */
export class CellTokens {
  readonly #options: CellTokensOptions;
  readonly #minted = new BoundedMap<string, Minted>(tokensMax);

  constructor(options: CellTokensOptions) {
    this.#options = options;
  }

  tokenFor(key: ApiKeyStatus, place: AccountPlace, cell: CellEntry): Promise<Secret<string>> {
    const name = [key.keyId, key.scopes.text, place.cellId, place.cellEpoch, place.generation].join(' ');
    const { clock, random } = this.#options;
    const known = this.#minted.get(name);
    if (known !== undefined && known.useUntil > clock.now()) return known.token;
    const useUntil = clock.now() + usedMsMax - random.fraction() * jitterMs;
    const minted = { useUntil, token: this.#mint(key, place, cell) };
    this.#minted.set(name, minted);
    minted.token.catch(() => this.#minted.delete(name));
    return minted.token;
  }

  #mint(
    { accountId, scopes }: ApiKeyStatus,
    { cellId, cellEpoch, generation }: AccountPlace,
    { trustDomain }: CellEntry,
  ): Promise<Secret<string>> {
    const { key, routerId, clock, random } = this.#options;
    const now = clock.now();
    return mintToken(key, {
      sub: accountId,
      aud: trustDomain,
      issuedAt: now,
      expiresAt: now + cellTokenLifetimeMsMax,
      id: random.bytes(idBytes).toString('base64url'),
      clientId: routerId,
      scope: scopes,
      account: accountId,
      cellId,
      cellEpoch,
      generation,
    });
  }
}
