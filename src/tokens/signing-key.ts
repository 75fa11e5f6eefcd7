import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { TokenKind, VerificationKey } from './key-set.ts';

/** A private ES256 key, and what its public half is published as. */
export interface SigningKey {
  readonly privateKey: KeyObject;
  readonly published: VerificationKey;
}

interface SigningKeyRole {
  readonly iss: string;
  readonly kind: TokenKind;
  /** The workload that alone holds the key. */
  readonly owner?: SpiffeId;
}

export function generateSigningKey(role: SigningKeyRole): SigningKey {
  return signingKeyOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, role);
}

/** @throws CellmeshError `key_set_invalid`: the PEM holds no P-256 private key */
export function signingKeyFromPem(pem: string, role: SigningKeyRole): SigningKey {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new CellmeshError('key_set_invalid', 'the signing key is no private key in PEM', { cause });
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new CellmeshError('key_set_invalid', 'the signing key is not on P-256, which ES256 needs');
  }
  return signingKeyOf(key, role);
}

export function signingKeyToPem(key: SigningKey): string {
  return key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function signingKeyOf(privateKey: KeyObject, role: SigningKeyRole): SigningKey {
  const publicKey = createPublicKey(privateKey);
  const { kty, crv, x, y } = publicKey.export({ format: 'jwk' });
  const jwk = { kty, crv, x, y } as VerificationKey['jwk'];
  return Object.freeze({
    privateKey,
    published: Object.freeze({ ...role, kid: thumbprint(jwk), alg: 'ES256', publicKey, jwk }),
  });
}

/** RFC 7638: the SHA-256 of the required members in order, so that a key has the same id wherever it is computed. */
function thumbprint({ crv, kty, x, y }: VerificationKey['jwk']): string {
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
}
