import type { KeyObject } from 'node:crypto';
import { type Der, decodeDer, encodeDer, oid, primitive, sequence, tags } from './der.ts';
import { oids } from './object-identifiers.ts';

export type SignatureAlgorithm = 'ecdsa-sha256' | 'ecdsa-sha384' | 'rsa-sha256' | 'rsa-sha384';
export type KeyAlgorithm = 'p256' | 'p384' | 'rsa';

/** NIST SP 800-57: 112 bits of strength; what OpenSSL's security level 2 demands too. */
const rsaBitsMin = 2048;
/** A verification grows with the cube of the length: a chain is checked before its sender is known. */
const rsaBitsMax = 4096;

const rsaParameters = primitive(tags.null, Buffer.alloc(0));
const identifiers: Record<SignatureAlgorithm, Der> = {
  'ecdsa-sha256': sequence(oid(oids.ecdsaWithSha256)),
  'ecdsa-sha384': sequence(oid(oids.ecdsaWithSha384)),
  'rsa-sha256': sequence(oid(oids.sha256WithRsa), rsaParameters),
  'rsa-sha384': sequence(oid(oids.sha384WithRsa), rsaParameters),
};

const byEncoding = new Map(
  (Object.keys(identifiers) as SignatureAlgorithm[]).map((name) => [
    encodeDer(identifiers[name]).toString('hex'),
    name,
  ]),
);

export const digestOf: Record<SignatureAlgorithm, 'sha256' | 'sha384'> = {
  'ecdsa-sha256': 'sha256',
  'ecdsa-sha384': 'sha384',
  'rsa-sha256': 'sha256',
  'rsa-sha384': 'sha384',
};

/** The AlgorithmIdentifier, parameters included (RFC 5758 3.2: absent; RFC 4055 5: NULL). */
export function algorithmIdentifier(algorithm: SignatureAlgorithm): Der {
  return identifiers[algorithm];
}

/** Undefined for every algorithm and every spelling of parameters that is not listed here. */
export function readAlgorithm(identifier: Der): SignatureAlgorithm | undefined {
  return byEncoding.get(encodeDer(identifier).toString('hex'));
}

/** Undefined for keys that are too weak, too long or of another kind. */
export function keyAlgorithmOf(publicKey: KeyObject): KeyAlgorithm | undefined {
  const details = publicKey.asymmetricKeyDetails;
  if (publicKey.asymmetricKeyType === 'rsa') {
    const bits = details?.modulusLength ?? 0;
    return bits >= rsaBitsMin && bits <= rsaBitsMax ? 'rsa' : undefined;
  }
  if (publicKey.asymmetricKeyType !== 'ec' || !namesItsCurve(publicKey)) return undefined;
  if (details?.namedCurve === 'prime256v1') return 'p256';
  return details?.namedCurve === 'secp384r1' ? 'p384' : undefined;
}

/** RFC 5480 2.1.1: parameters of a curve that are spelled out are refused; OpenSSL names such a curve when it recognizes it. */
function namesItsCurve(publicKey: KeyObject): boolean {
  const [algorithm] = publicKeyInfo(publicKey).children;
  return algorithm?.children[1]?.tag === tags.oid;
}

/** What a key signs certificates with. */
export function signatureAlgorithmOf(key: KeyAlgorithm): SignatureAlgorithm {
  if (key === 'p256') return 'ecdsa-sha256';
  return key === 'p384' ? 'ecdsa-sha384' : 'rsa-sha256';
}

/** The SubjectPublicKeyInfo of a key. */
export function publicKeyInfo(publicKey: KeyObject): Der {
  return decodeDer(publicKey.export({ format: 'der', type: 'spki' }));
}
