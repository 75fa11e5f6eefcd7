import { SignJWT } from 'jose';
import { CellmeshError } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import type { AccountId } from './account-id.ts';
import type { CellId } from './cell-id.ts';
import type { ScopeSet } from './scope.ts';
import type { SigningKey } from './signing-key.ts';

/** What a token says (DESIGN.md 5). Times in milliseconds since the epoch; the token carries whole seconds. */
export interface TokenClaims {
  readonly sub: string;
  readonly aud: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Unique for this token (`jti`). */
  readonly id: string;
  /** Who presents the token to be let in: the router's or the workload's SPIFFE ID. */
  readonly clientId: string;
  readonly scope: ScopeSet;
  readonly account?: AccountId;
  readonly cellId?: CellId;
  readonly cellEpoch?: number;
  readonly generation?: number;
}

/** Longer tokens are refused by every verifier (PAINS.md P24: header limits along the way). */
export const tokenBytesMax = 4096;
/** RFC 9068 2.1: not mistaken for an ID token or any other JWT. */
export const tokenType = 'at+jwt';

/** Signs `claims` with ES256. @throws CellmeshError `token_too_large`: the scopes do not fit a token of 4 KiB */
export async function mintToken(key: SigningKey, claims: TokenClaims): Promise<Secret<string>> {
  const { kid, iss } = key.published;
  const payload = {
    iss,
    sub: claims.sub,
    aud: claims.aud,
    iat: Math.floor(claims.issuedAt / 1000),
    exp: Math.floor(claims.expiresAt / 1000),
    jti: claims.id,
    client_id: claims.clientId,
    scope: claims.scope.text,
    ...(claims.account === undefined ? {} : { account: claims.account }),
    ...(claims.cellId === undefined ? {} : { cell_id: claims.cellId }),
    ...(claims.cellEpoch === undefined ? {} : { cell_epoch: claims.cellEpoch }),
    ...(claims.generation === undefined ? {} : { gen: claims.generation }),
  };
  const text = await new SignJWT(payload)
    .setProtectedHeader({ alg: 'ES256', typ: tokenType, kid })
    .sign(key.privateKey);
  if (text.length > tokenBytesMax) {
    throw new CellmeshError(
      'token_too_large',
      `the token for ${claims.sub} has ${text.length} bytes, ${tokenBytesMax} are allowed; grant fewer scopes`,
    );
  }
  return new Secret(text);
}
