import { CellmeshError } from '#runtime/errors.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { type CertificateProfile, encodeToBeSigned } from './certificate-profile.ts';
import { bitString, decodeDer, encodeDer, sequence } from './der.ts';
import { algorithmIdentifier, type SignatureAlgorithm, signatureAlgorithmOf } from './signature-algorithm.ts';

/**
 * Whoever holds the root's key: a file, a Kubernetes Secret, a KMS, a command. It signs the encoded certificates that it is
 * handed and never shows the key.
 */
export interface RootSigner {
  readonly certificate: Certificate;
  /**
   * The signature value for the to-be-signed bytes of a certificate: ECDSA as DER (RFC 3279 2.2.3) with SHA-256 for a P-256
   * key and SHA-384 for a P-384 key, PKCS#1 v1.5 with SHA-256 for RSA.
   */
  sign(toBeSigned: Buffer): Promise<Buffer>;
}

/**
 * Encodes, lets `sign` sign, and reads the result back: what leaves here is what every reader will see.
 * @throws CellmeshError `svid_not_issued` when the signature is not one by `issuerKey`
 */
export async function signCertificate(profile: CertificateProfile, issuer: Issuer): Promise<Certificate> {
  const toBeSigned = encodeToBeSigned(profile, issuer.algorithm);
  const signature = await issuer.sign(toBeSigned);
  const der = encodeDer(sequence(decodeDer(toBeSigned), algorithmIdentifier(issuer.algorithm), bitString(signature)));
  return parseCertificate(der);
}

export interface Issuer {
  readonly algorithm: SignatureAlgorithm;
  sign(toBeSigned: Buffer): Promise<Buffer> | Buffer;
}

/** How a root signs. @throws CellmeshError `svid_not_issued` for a root whose key is of a kind that we refuse */
export function issuerOf(signer: RootSigner): Issuer {
  const { keyAlgorithm } = signer.certificate;
  if (keyAlgorithm === undefined) {
    throw new CellmeshError(
      'svid_not_issued',
      'the root has a key of a kind or size that is refused: use P-256, P-384 or RSA',
    );
  }
  return { algorithm: signatureAlgorithmOf(keyAlgorithm), sign: (bytes) => signer.sign(bytes) };
}
