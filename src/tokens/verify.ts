import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import { type AccountId, isAccountId } from './account-id.ts';
import { type CellId, parseCellId } from './cell-id.ts';
import type { KeySet, TokenKind, VerificationKey } from './key-set.ts';
import { tokenBytesMax, tokenType } from './mint.ts';
import { parseScopeList, type ScopeSet } from './scope.ts';
import { TokenRejected } from './token-reasons.ts';

/** A token whose signature, times, audience and claims hold. Made by `verifyToken` only. Times in ms since the epoch. */
export interface VerifiedToken {
  readonly kind: TokenKind;
  readonly issuer: string;
  readonly kid: string;
  /** The one workload that holds the signing key, where there is one. */
  readonly keyOwner?: SpiffeId;
  readonly subject: string;
  readonly audience: string;
  readonly clientId: string;
  readonly id: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly scopes: ScopeSet;
  readonly account?: AccountId;
  readonly cellId?: CellId;
  readonly cellEpoch?: number;
  readonly generation?: number;
  /** `act.sub` of the outermost actor: who presents the token on behalf of its subject (RFC 8693 4.1). */
  readonly actor?: string;
  /** Everything that the token says, as it was signed. */
  readonly claims: Readonly<Record<string, unknown>>;
  readonly text: Secret<string>;
}

interface VerifyContext {
  readonly keySet: KeySet;
  /** The `aud` that must be named: the cell's trust domain, or the service's SPIFFE ID for exchanged tokens. */
  readonly audience: string;
  readonly nowMs: number;
}

/** How far the clocks of minter and verifier may be apart (PAINS.md P7). */
export const skewMs = 30_000;
/** No token of a cell lives longer than five minutes; one that claims to was not made by a router of ours. */
export const cellTokenLifetimeMsMax = 5 * 60_000;
const compactPattern = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
const claimCharactersMax = 2048;

/** Which key a token says it is signed with; nothing of it is verified yet. @throws TokenRejected */
export function keyNameOf(text: string): { iss: string; kid: string } {
  if (text.length > tokenBytesMax)
    throw new TokenRejected('token_too_large', `the token has ${text.length} bytes, ${tokenBytesMax} are allowed`);
  if (!compactPattern.test(text)) throw new TokenRejected('token_malformed', 'the token is no compact JWS');
  const { kid, typ, crit } = headerOf(text);
  if (crit !== undefined) throw new TokenRejected('token_malformed', 'the token has critical header parameters');
  if (typ?.toLowerCase() !== tokenType) throw new TokenRejected('token_type', `the token's typ is not ${tokenType}`);
  const iss = payloadOf(text)['iss'];
  if (typeof kid !== 'string' || kid === '') throw new TokenRejected('token_key_unknown', 'the token names no key');
  if (typeof iss !== 'string' || iss === '') throw new TokenRejected('token_issuer', 'the token names no issuer');
  return { iss, kid };
}

/**
 * Verifies one token. The key decides algorithm and kind, the token has no say in either.
 * @throws TokenRejected with the first thing that is wrong
 */
export async function verifyToken(text: string, { keySet, audience, nowMs }: VerifyContext): Promise<VerifiedToken> {
  const { iss, kid } = keyNameOf(text);
  const key = keySet.find(iss, kid);
  if (key === undefined) {
    if (!keySet.hasIssuer(iss)) throw new TokenRejected('token_issuer', 'no key of this issuer is trusted here');
    throw new TokenRejected('token_key_unknown', 'the key that the token names is not known');
  }
  const claims = await verifiedClaims(text, key, nowMs);
  return readClaims(text, key, claims, audience, nowMs);
}

async function verifiedClaims(text: string, key: VerificationKey, nowMs: number): Promise<JWTPayload> {
  if (headerOf(text).alg !== key.alg)
    throw new TokenRejected('token_algorithm', `the key signs ${key.alg}, the token says otherwise`);
  try {
    const { payload } = await jwtVerify(text, key.publicKey, {
      algorithms: [key.alg],
      typ: tokenType,
      currentDate: new Date(nowMs),
      clockTolerance: skewMs / 1000,
    });
    return payload;
  } catch (cause) {
    throw translate(cause);
  }
}

function readClaims(
  text: string,
  key: VerificationKey,
  claims: JWTPayload,
  audience: string,
  nowMs: number,
): VerifiedToken {
  const issuedAt = timeClaim(claims, 'iat');
  const expiresAt = timeClaim(claims, 'exp');
  if (issuedAt > nowMs + skewMs)
    throw new TokenRejected('token_not_yet_valid', 'the token was issued in the future; compare the clocks');
  if (expiresAt <= issuedAt) throw new TokenRejected('token_claims', 'exp is not after iat');
  if (claims.aud !== audience) throw new TokenRejected('token_audience', `the token is not for ${audience}`);
  const account = accountClaim(claims);
  const cell = cellClaims(claims);
  if (key.kind === 'cell') {
    if (account === undefined) throw new TokenRejected('token_claims', 'account is missing');
    if (cell.cellId === undefined || cell.cellEpoch === undefined || cell.generation === undefined) {
      throw new TokenRejected('token_claims', 'cell_id, cell_epoch or gen is missing');
    }
    if (expiresAt - issuedAt > cellTokenLifetimeMsMax)
      throw new TokenRejected('token_claims', 'a cell token lives five minutes at most');
  }
  return Object.freeze({
    kind: key.kind,
    issuer: key.iss,
    kid: key.kid,
    ...(key.owner === undefined ? {} : { keyOwner: key.owner }),
    subject: textClaim(claims, 'sub'),
    audience,
    clientId: textClaim(claims, 'client_id'),
    id: textClaim(claims, 'jti'),
    issuedAt,
    expiresAt,
    scopes: scopeClaim(claims),
    ...(account === undefined ? {} : { account }),
    ...cell,
    ...actorClaim(claims),
    claims,
    text: new Secret(text),
  });
}

function headerOf(text: string): ReturnType<typeof decodeProtectedHeader> {
  try {
    return decodeProtectedHeader(text);
  } catch (cause) {
    throw new TokenRejected('token_malformed', 'the header of the token is no JSON object', cause);
  }
}

function payloadOf(text: string): Record<string, unknown> {
  try {
    const payload: unknown = JSON.parse(Buffer.from(text.split('.', 2)[1]!, 'base64url').toString('utf8'));
    if (typeof payload === 'object' && payload !== null && !Array.isArray(payload))
      return payload as Record<string, unknown>;
  } catch (cause) {
    throw new TokenRejected('token_malformed', 'the payload of the token is no JSON', cause);
  }
  throw new TokenRejected('token_malformed', 'the payload of the token is no JSON object');
}

function textClaim(claims: JWTPayload, name: string): string {
  const value = claims[name];
  if (typeof value !== 'string' || value === '' || value.length > claimCharactersMax)
    throw new TokenRejected('token_claims', `${name} is missing or no text`);
  return value;
}

/** NumericDate (RFC 7519 2), whole seconds. */
function timeClaim(claims: JWTPayload, name: 'iat' | 'exp'): number {
  const seconds = claims[name];
  if (typeof seconds !== 'number' || !Number.isSafeInteger(seconds) || seconds < 0)
    throw new TokenRejected('token_claims', `${name} is missing or no time`);
  return seconds * 1000;
}

function scopeClaim(claims: JWTPayload): ScopeSet {
  const { scope } = claims;
  if (typeof scope !== 'string') throw new TokenRejected('token_claims', 'scope is missing or no text');
  try {
    return parseScopeList(scope);
  } catch (cause) {
    if (isCellmeshError(cause)) throw new TokenRejected('token_claims', 'scope is malformed', cause);
    throw cause;
  }
}

function accountClaim({ account }: JWTPayload): AccountId | undefined {
  if (account === undefined) return undefined;
  if (typeof account === 'string' && isAccountId(account)) return account;
  throw new TokenRejected('token_claims', 'account is malformed');
}

/** Actors before the outermost are informational and never decided on (RFC 8693 4.1). */
function actorClaim({ act }: JWTPayload): { actor?: string } {
  if (act === undefined) return {};
  if (typeof act !== 'object' || act === null || Array.isArray(act))
    throw new TokenRejected('token_claims', 'act is no object');
  return { actor: textClaim(act as JWTPayload, 'sub') };
}

function cellClaims(claims: JWTPayload): { cellId?: CellId; cellEpoch?: number; generation?: number } {
  const { cell_id: cellId } = claims;
  const cellEpoch = counterClaim(claims, 'cell_epoch');
  const generation = counterClaim(claims, 'gen');
  return {
    ...(cellId === undefined ? {} : { cellId: readCellId(cellId) }),
    ...(cellEpoch === undefined ? {} : { cellEpoch }),
    ...(generation === undefined ? {} : { generation }),
  };
}

function readCellId(value: unknown): CellId {
  try {
    return parseCellId(String(value));
  } catch (cause) {
    throw new TokenRejected('token_claims', 'cell_id is malformed', cause);
  }
}

function counterClaim(claims: JWTPayload, name: string): number | undefined {
  const value = claims[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw new TokenRejected('token_claims', `${name} is no counter`);
  return value;
}

/** jose's errors in our words; their messages name claims, never values. */
function translate(cause: unknown): TokenRejected {
  if (cause instanceof errors.JWTExpired) return new TokenRejected('token_expired', 'the token has expired', cause);
  if (cause instanceof errors.JWSSignatureVerificationFailed)
    return new TokenRejected('token_signature', 'the signature does not hold', cause);
  if (cause instanceof errors.JOSEAlgNotAllowed)
    return new TokenRejected('token_algorithm', 'the algorithm is refused', cause);
  if (cause instanceof errors.JWTClaimValidationFailed) {
    const reason =
      cause.claim === 'nbf' ? 'token_not_yet_valid' : cause.claim === 'typ' ? 'token_type' : 'token_claims';
    return new TokenRejected(reason, `the claim ${cause.claim} does not hold`, cause);
  }
  return new TokenRejected('token_malformed', 'the token cannot be read', cause);
}
