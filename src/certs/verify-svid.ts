import { CellmeshError } from '#runtime/errors.ts';
import type { Certificate } from './certificate.ts';
import { RecentCertificates } from './recent-certificates.ts';
import { parseSpiffeId, type SpiffeId, type TrustDomain, trustDomainOf } from './spiffe-id.ts';
import { brokenIssuerRule, brokenLeafRule, brokenValidityRule, refuseIfBroken, SvidRejected } from './svid-rules.ts';
import type { TrustBundles } from './trust-bundle.ts';

/** Made by `verifySvid` only. */
export interface VerifiedSvid {
  readonly id: SpiffeId;
  readonly leaf: Certificate;
  /** Leaf first, as presented, up to the one that a root signed; the root itself is not in it unless it was presented. */
  readonly chain: readonly Certificate[];
  readonly root: Certificate;
  /** The time during which leaf, issuers and root are all valid, in milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Leaf, the replica's intermediate, an operator's intermediate, a root or a cross-signed one. */
export const chainCertificatesMax = 4;

/**
 * Holds a chain (leaf first) against every rule of `svid-rules.ts`, using only the bundle of the leaf's own trust domain.
 * @throws SvidRejected (`svid_rejected`) with the first `rule` that is broken
 */
export function verifySvid(chainDer: readonly Uint8Array[], bundles: TrustBundles, nowMs: number): VerifiedSvid {
  if (chainDer.length === 0) throw new SvidRejected('chain_empty', 'no certificate was presented');
  if (chainDer.length > chainCertificatesMax) {
    throw new SvidRejected(
      'chain_too_long',
      `${chainDer.length} certificates, at most ${chainCertificatesMax} are accepted`,
    );
  }
  const verified = verifyChain(chainDer.map(parse), bundles, nowMs);
  recent.remember(verified.chain);
  return verified;
}

/** One for the process: what a certificate says is the same for everybody who asks. */
const recent = new RecentCertificates();

/** `verifySvid` for certificates that are parsed already: those of an SVID of our own, or of an open connection. */
export function verifyChain(chain: readonly Certificate[], bundles: TrustBundles, nowMs: number): VerifiedSvid {
  const leaf = chain[0];
  if (leaf === undefined) throw new SvidRejected('chain_empty', 'no certificate was presented');
  refuseIfBroken(brokenLeafRule(leaf), 'leaf');
  const id = parseSpiffeId(leaf.uriSans[0]!);
  const trustDomain = trustDomainOf(id);
  const bundle = bundles.get(trustDomain);
  if (bundle === undefined) throw new SvidRejected('trust_domain_unknown', `no trust bundle for ${trustDomain}`);
  refuseIfBroken(brokenValidityRule(leaf, nowMs), 'leaf');
  const { path, root } = walkToRoot(chain, bundle.roots, trustDomain, nowMs);
  const all = [...path, root];
  return Object.freeze({
    id,
    leaf,
    chain: path,
    root,
    notBefore: Math.max(...all.map(({ notBefore }) => notBefore)),
    notAfter: Math.min(...all.map(({ notAfter }) => notAfter)),
  });
}

/**
 * From the leaf up, one certificate at a time in the order presented, ending at the first that a root of the bundle signed. What
 * was presented beyond that is neither trusted nor needed: a peer that already knows the new root of a rotation sends its
 * cross-signed certificate along for those that do not.
 */
function walkToRoot(
  chain: readonly Certificate[],
  roots: readonly Certificate[],
  trustDomain: TrustDomain,
  nowMs: number,
): { path: readonly Certificate[]; root: Certificate } {
  for (const [index, certificate] of chain.entries()) {
    const root = signingRoot(certificate, roots);
    if (root !== undefined) {
      refuseIfBroken(brokenIssuerRule(root, trustDomain, index), 'root');
      refuseIfBroken(brokenValidityRule(root, nowMs), 'root');
      return { path: chain.slice(0, index + 1), root };
    }
    const issuer = chain[index + 1];
    if (issuer === undefined) throw endsWithoutRoot(certificate, roots, trustDomain);
    const whose = `issuer ${index + 1}`;
    if (!certificate.issuer.equals(issuer.subject)) {
      throw new SvidRejected('issuer_name', `${whose} is not who certificate ${index} names as its issuer`);
    }
    refuseIfBroken(brokenIssuerRule(issuer, trustDomain, index), whose);
    refuseIfBroken(brokenValidityRule(issuer, nowMs), whose);
    if (!certificate.isSignedBy(issuer.publicKey))
      throw new SvidRejected('signature', `${whose} did not sign certificate ${index}`);
  }
  throw new SvidRejected('chain_empty', 'no certificate was presented');
}

function endsWithoutRoot(last: Certificate, roots: readonly Certificate[], trustDomain: TrustDomain): SvidRejected {
  if (roots.some(({ subject }) => subject.equals(last.issuer))) {
    return new SvidRejected('signature', `the root of ${trustDomain} that the chain names did not sign it`);
  }
  return new SvidRejected('root_unknown', `no root in the bundle of ${trustDomain} signed this chain`);
}

function signingRoot(certificate: Certificate, roots: readonly Certificate[]): Certificate | undefined {
  return roots.find((root) => root.subject.equals(certificate.issuer) && certificate.isSignedBy(root.publicKey));
}

function parse(der: Uint8Array, index: number): Certificate {
  try {
    return recent.parse(der);
  } catch (cause) {
    if (!(cause instanceof CellmeshError)) throw cause;
    throw new SvidRejected('certificate_malformed', `certificate ${index}: ${cause.message}`, cause);
  }
}
