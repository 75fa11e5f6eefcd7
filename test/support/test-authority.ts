import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { Authority, type AuthorityOptions } from '#certs/authority.ts';
import { type Certificate, parseCertificate } from '#certs/certificate.ts';
import { authorityProfile, randomSerial } from '#certs/certificate-profile.ts';
import { createCsr, verifyCsr } from '#certs/csr.ts';
import { fixedRoot } from '#certs/fixed-root.ts';
import { type RootSigner, signCertificate } from '#certs/root-signer.ts';
import { localSigner } from '#certs/root-signer-file.ts';
import { rootLifetimeMs } from '#certs/roots.ts';
import { parseTrustDomain, type SpiffeId, type TrustDomain } from '#certs/spiffe-id.ts';
import type { Svid } from '#certs/svid.ts';
import { bundlesOf, type TrustBundles } from '#certs/trust-bundle.ts';
import type { Clock } from '#runtime/clock.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';

/** A trust domain in this process: its authority, and SVIDs of it as workloads would hold them. */
export interface TestAuthority {
  readonly trustDomain: TrustDomain;
  readonly authority: Authority;
  readonly rootSigner: RootSigner;
  readonly bundles: TrustBundles;
  issue(id: SpiffeId, lifetimeMs?: number): Promise<Svid>;
}

export async function testAuthority(
  clock: Clock,
  trustDomainText = 'cell-1.example.com',
  options: Partial<AuthorityOptions> & {
    rootLifetimeMs?: number;
    rootSigner?: RootSigner;
    otherRoots?: readonly Certificate[];
  } = {},
): Promise<TestAuthority> {
  const trustDomain = parseTrustDomain(trustDomainText);
  const rootSigner = options.rootSigner ?? (await testRoot(clock, trustDomain, options.rootLifetimeMs));
  const common = { trustDomain, clock, random: systemRandom, logger: silentLogger };
  const roots = fixedRoot(rootSigner, { ...common, ...options, trustDomain });
  const authority = await Authority.create({ ...common, ...roots, ...options });
  return {
    trustDomain,
    authority,
    rootSigner,
    bundles: bundlesOf(authority.bundle.current),
    async issue(id, lifetimeMs) {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const { publicKey } = verifyCsr(createCsr(privateKey));
      const request = lifetimeMs === undefined ? { id, publicKey } : { id, publicKey, lifetimeMs };
      const { chainDer } = await authority.issue(request);
      return { id, chain: chainDer.map(parseCertificate), privateKey };
    },
  };
}

/** A root whose key lies in memory. */
export async function testRoot(
  clock: Clock,
  trustDomain: TrustDomain,
  lifetimeMs = rootLifetimeMs,
): Promise<RootSigner> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const profile = authorityProfile({
    trustDomain,
    kind: 'root',
    publicKey,
    serial: randomSerial(systemRandom),
    notBefore: clock.now() - 120_000,
    notAfter: clock.now() + lifetimeMs,
  });
  return localSigner(
    privateKey,
    await signCertificate(profile, { algorithm: 'ecdsa-sha256', sign: ecdsa(privateKey) }),
  );
}

function ecdsa(privateKey: KeyObject): (bytes: Buffer) => Buffer {
  return (bytes) => sign('sha256', bytes, privateKey);
}
