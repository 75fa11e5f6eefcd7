import { CellmeshError, isCellmeshError } from '#runtime/errors.ts';
import type { Certificate } from './certificate.ts';
import { oids } from './object-identifiers.ts';
import { parseSpiffeId, pathOf, type TrustDomain, trustDomainOf } from './spiffe-id.ts';

/**
 * The one list of rules for X.509 SVIDs (X509-SVID 2 to 5, RFC 5280): what is issued, what is loaded from disk and what peers
 * present are all held against it. Each entry is the name that logs, metrics and `SvidRejected.rule` carry.
 */
export const svidRules = {
  chain_empty: 'There is at least one certificate.',
  chain_too_long: 'A chain has at most 4 certificates.',
  certificate_malformed: 'Every certificate is well-formed, version 3, at most 16 KiB.',
  uri_san_missing: 'The leaf names its SPIFFE ID in a URI SAN.',
  uri_san_multiple: 'A certificate has no second URI SAN.',
  spiffe_id_invalid: 'The URI SAN is a SPIFFE ID.',
  spiffe_id_without_path: "The leaf's SPIFFE ID has a path; an ID without one belongs to the authority.",
  san_not_critical: 'Without a subject, the subject alternative name is critical.',
  key_usage_missing: 'KeyUsage is present.',
  key_usage_not_critical: 'KeyUsage is critical.',
  digital_signature_missing: 'The leaf may sign (digitalSignature): TLS 1.3 needs nothing else.',
  leaf_cert_sign: 'The leaf may not sign certificates (keyCertSign).',
  leaf_crl_sign: 'The leaf may not sign revocation lists (cRLSign).',
  leaf_is_authority: 'The leaf is no authority (cA is false).',
  extended_key_usage: 'The leaf serves and calls: an extended key usage names serverAuth and clientAuth.',
  critical_extension_unknown: 'Every critical extension is one that is understood here.',
  key_algorithm: 'Keys are P-256, P-384 or RSA of 2048 to 4096 bits.',
  signature_algorithm: 'Signatures are ECDSA or RSA PKCS#1 with SHA-256 or SHA-384.',
  not_yet_valid: 'The validity of every certificate has begun.',
  expired: 'The validity of no certificate has ended.',
  trust_domain_unknown: "There is a trust bundle for the leaf's trust domain.",
  issuer_not_authority: 'Who issues is an authority (cA is true).',
  issuer_cert_sign: 'Who issues may sign certificates (keyCertSign).',
  issuer_path_length: 'No issuer has more issuers below it than its path length allows.',
  issuer_id: "An issuer's SPIFFE ID, if it has one, is the ID of the leaf's trust domain, without a path.",
  issuer_name: 'The issuer that a certificate names is the subject of the next.',
  signature: 'Every certificate is signed by the next.',
  root_unknown: "The chain ends at a root in the bundle of the leaf's trust domain.",
} as const;

export type SvidRule = keyof typeof svidRules;

/** Why a chain is no SVID. `rule` is stable, the message is for people. */
export class SvidRejected extends CellmeshError {
  readonly rule: SvidRule;
  /** The message without the rule. */
  readonly reason: string;

  constructor(rule: SvidRule, reason: string, cause?: unknown) {
    super('svid_rejected', `${rule}: ${reason}`, { cause });
    this.name = 'SvidRejected';
    this.rule = rule;
    this.reason = reason;
  }
}

interface BrokenRule {
  readonly rule: SvidRule;
  readonly reason: string;
}

type Check = (certificate: Certificate) => string | undefined;

/** In this order: the first broken rule is the one that is named. */
const anyCertificate: Partial<Record<SvidRule, Check>> = {
  critical_extension_unknown: ({ unknownCritical }) =>
    unknownCritical.length === 0 ? undefined : `critical extension ${unknownCritical.join(', ')} is not known here`,
  key_algorithm: ({ keyAlgorithm }) =>
    keyAlgorithm === undefined ? 'the key is of a kind or size that is refused' : undefined,
  signature_algorithm: ({ signatureAlgorithm }) =>
    signatureAlgorithm === undefined ? 'the signature algorithm is refused' : undefined,
  uri_san_multiple: ({ uriSans }) => (uriSans.length > 1 ? `it has ${uriSans.length} URI SANs` : undefined),
  key_usage_missing: ({ keyUsage }) => (keyUsage === undefined ? 'it has no KeyUsage' : undefined),
  key_usage_not_critical: ({ keyUsage }) => (keyUsage?.critical ? undefined : 'its KeyUsage is not critical'),
};

const leaf: Partial<Record<SvidRule, Check>> = {
  uri_san_missing: ({ uriSans }) => (uriSans.length === 0 ? 'it has no URI SAN' : undefined),
  spiffe_id_invalid: ({ uriSans }) => spiffeIdProblem(uriSans[0]!),
  spiffe_id_without_path: ({ uriSans }) =>
    pathOf(parseSpiffeId(uriSans[0]!)) === '' ? 'its SPIFFE ID has no path' : undefined,
  san_not_critical: ({ hasSubject, subjectAltName }) =>
    hasSubject || subjectAltName?.critical ? undefined : 'it has no subject, and its SAN is not critical',
  leaf_is_authority: ({ basicConstraints }) => (basicConstraints?.isAuthority ? 'cA is true' : undefined),
  digital_signature_missing: ({ keyUsage }) =>
    keyUsage?.usages.has('digitalSignature') ? undefined : 'digitalSignature is not set',
  leaf_cert_sign: ({ keyUsage }) => (keyUsage?.usages.has('keyCertSign') ? 'keyCertSign is set' : undefined),
  leaf_crl_sign: ({ keyUsage }) => (keyUsage?.usages.has('cRLSign') ? 'cRLSign is set' : undefined),
  extended_key_usage: ({ extendedKeyUsage }) => {
    const missing = [oids.serverAuth, oids.clientAuth].filter((id) => !extendedKeyUsage?.purposes.includes(id));
    return extendedKeyUsage === undefined || missing.length === 0
      ? undefined
      : `purpose ${missing.join(', ')} is missing`;
  },
};

const issuer: Partial<Record<SvidRule, Check>> = {
  issuer_not_authority: ({ basicConstraints }) => (basicConstraints?.isAuthority ? undefined : 'cA is not true'),
  issuer_cert_sign: ({ keyUsage }) => (keyUsage?.usages.has('keyCertSign') ? undefined : 'keyCertSign is not set'),
};

/** The first rule that a leaf breaks by itself, whatever the time and whoever issued it. */
export function brokenLeafRule(certificate: Certificate): BrokenRule | undefined {
  return firstBroken(anyCertificate, certificate) ?? firstBroken(leaf, certificate);
}

/** The first rule that an issuer of leaves of `trustDomain` breaks, with `issuersBelow` issuers between it and the leaf. */
export function brokenIssuerRule(
  certificate: Certificate,
  trustDomain: TrustDomain,
  issuersBelow: number,
): BrokenRule | undefined {
  const broken = firstBroken(anyCertificate, certificate) ?? firstBroken(issuer, certificate);
  if (broken !== undefined) return broken;
  const pathLength = certificate.basicConstraints?.pathLength;
  if (pathLength !== undefined && issuersBelow > pathLength) {
    return {
      rule: 'issuer_path_length',
      reason: `its path length is ${pathLength}, ${issuersBelow} issuers are below it`,
    };
  }
  return brokenIssuerId(certificate, trustDomain);
}

/** The first rule that a root of `trustDomain` breaks, apart from its validity. */
export function brokenRootRule(certificate: Certificate, trustDomain: TrustDomain): BrokenRule | undefined {
  return brokenIssuerRule(certificate, trustDomain, 0);
}

/** Both ends belong to the validity (RFC 5280 4.1.2.5). */
export function brokenValidityRule(certificate: Certificate, nowMs: number): BrokenRule | undefined {
  const { notBefore, notAfter } = certificate;
  if (nowMs < notBefore) {
    const reason = `it is valid from ${isoTime(notBefore)}, now is ${isoTime(nowMs)}; compare the clocks`;
    return { rule: 'not_yet_valid', reason };
  }
  if (nowMs > notAfter)
    return { rule: 'expired', reason: `it was valid until ${isoTime(notAfter)}, now is ${isoTime(nowMs)}` };
  return undefined;
}

/** Throws what a rule function found. @throws SvidRejected */
export function refuseIfBroken(broken: BrokenRule | undefined, whose: string): void {
  if (broken !== undefined) throw new SvidRejected(broken.rule, `${whose}: ${broken.reason}`);
}

function firstBroken(checks: Partial<Record<SvidRule, Check>>, certificate: Certificate): BrokenRule | undefined {
  for (const [rule, check] of Object.entries(checks) as [SvidRule, Check][]) {
    const reason = check(certificate);
    if (reason !== undefined) return { rule, reason };
  }
  return undefined;
}

function brokenIssuerId({ uriSans }: Certificate, trustDomain: TrustDomain): BrokenRule | undefined {
  const [uri] = uriSans;
  if (uri === undefined) return undefined;
  const problem = spiffeIdProblem(uri);
  if (problem !== undefined) return { rule: 'issuer_id', reason: problem };
  const id = parseSpiffeId(uri);
  if (pathOf(id) !== '') return { rule: 'issuer_id', reason: 'its SPIFFE ID has a path' };
  if (trustDomainOf(id) !== trustDomain) return { rule: 'issuer_id', reason: `it issues for ${trustDomainOf(id)}` };
  return undefined;
}

function spiffeIdProblem(uri: string): string | undefined {
  try {
    parseSpiffeId(uri);
    return undefined;
  } catch (error) {
    if (isCellmeshError(error, 'spiffe_id_invalid')) return error.message;
    throw error;
  }
}

function isoTime(ms: number): string {
  return Number.isFinite(ms) ? new Date(ms).toISOString() : String(ms);
}
