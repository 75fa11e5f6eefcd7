import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Random } from '#runtime/random.ts';
import type { Certificate } from './certificate.ts';
import { authorityProfile, keyIdOfCertificate, randomSerial } from './certificate-profile.ts';
import { verifyCsr } from './csr.ts';
import { decodeDer } from './der.ts';
import { issuerOf, type RootSigner, signCertificate } from './root-signer.ts';
import { backdateMs } from './roots.ts';
import type { TrustDomain } from './spiffe-id.ts';
import { brokenValidityRule } from './svid-rules.ts';

/**
 * Port: whoever has the root signed. The root lies in this process, or with the one replica that holds it.
 */
export interface IntermediateSource {
  /**
   * A certificate of an authority without further authorities below it, for the key that made the request, signed by the root that signs now.
   * @param csr PKCS#10 (DER), P-256; names in it are ignored
   * @returns the certificate as DER; it is not believed but checked
   */
  requestIntermediate(csr: Buffer): Promise<Uint8Array>;
}

export interface SignIntermediateOptions {
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly random: Random;
  /** Default 7 days. */
  readonly lifetimeMs?: number;
  /** Default 2 minutes. */
  readonly backdateMs?: number;
}

export const intermediateLifetimeMs = 7 * 24 * 3600_000;

/**
 * Signs a request for an intermediate. It ends no later than the root.
 * @throws CellmeshError `csr_invalid`; `svid_not_issued` when the root is not valid now, or signs as somebody else
 */
export async function signIntermediate(
  signer: RootSigner,
  csr: Uint8Array,
  options: SignIntermediateOptions,
): Promise<Certificate> {
  const { certificate: root } = signer;
  const { publicKey } = verifyCsr(csr);
  const now = options.clock.now();
  const broken = brokenValidityRule(root, now);
  if (broken !== undefined) throw notIssued(`the root of ${options.trustDomain} cannot sign: ${broken.reason}`);
  const profile = authorityProfile({
    trustDomain: options.trustDomain,
    kind: 'intermediate',
    publicKey,
    serial: randomSerial(options.random),
    issuer: { name: decodeDer(root.subject), keyId: keyIdOfCertificate(root) },
    notBefore: Math.max(now - (options.backdateMs ?? backdateMs), root.notBefore),
    notAfter: Math.min(now + (options.lifetimeMs ?? intermediateLifetimeMs), root.notAfter),
  });
  const certificate = await signCertificate(profile, issuerOf(signer));
  if (!certificate.isSignedBy(root.publicKey))
    throw notIssued('the root signer returned a signature that is not its own');
  return certificate;
}

function notIssued(reason: string): CellmeshError {
  return new CellmeshError('svid_not_issued', reason);
}
