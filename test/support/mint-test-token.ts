import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose';
import { routerId } from '#certs/reserved-ids.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { systemClock } from '#runtime/clock.ts';
import type { AccountId } from '#tokens/account-id.ts';
import { parseCellId } from '#tokens/cell-id.ts';
import { mintToken, type TokenClaims } from '#tokens/mint.ts';
import { parseScopeList } from '#tokens/scope.ts';
import type { SigningKey } from '#tokens/signing-key.ts';

export const account = 'AC0123456789abcdef0123456789abcdef' as AccountId;
export const router = routerId(parseTrustDomain('cellmesh.localhost'), 'local', 'router-1');

export interface TokenChange extends Partial<Omit<TokenClaims, 'scope'>> {
  readonly scope?: string;
  readonly key?: SigningKey;
  /** Beside those that every token has. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

let minted = 0;

/** A cell token of `account` for `cell-1` as `router-1` mints it, but for what `change` says. */
export async function mintTestToken(
  signingKey: SigningKey,
  { key, scope, claims, ...change }: TokenChange,
): Promise<string> {
  const now = systemClock.now();
  const secret = await mintToken(key ?? signingKey, {
    sub: account,
    aud: 'cell-1.cellmesh.localhost',
    issuedAt: now,
    expiresAt: now + 300_000,
    id: `token-${++minted}`,
    clientId: router,
    scope: parseScopeList(scope ?? 'messages:read messages:write'),
    account,
    cellId: parseCellId('cell-1'),
    cellEpoch: 1,
    generation: 1,
    ...change,
  });
  return claims === undefined ? secret.reveal() : await withClaims(secret.reveal(), key ?? signingKey, claims);
}

function withClaims(token: string, { privateKey }: SigningKey, claims: Readonly<Record<string, unknown>>) {
  const header = decodeProtectedHeader(token) as { alg: string };
  return new SignJWT({ ...decodeJwt(token), ...claims }).setProtectedHeader(header).sign(privateKey);
}
