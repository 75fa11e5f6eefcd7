import { createHash, type KeyObject } from 'node:crypto';
import type { Random } from '#runtime/random.ts';
import type { Certificate } from './certificate.ts';
import { type KeyUsage, keyUsages } from './certificate-extensions.ts';
import {
  bitString,
  boolean,
  constructed,
  contextTag,
  type Der,
  encodeDer,
  integer,
  octetString,
  oid,
  primitive,
  sequence,
  set,
  smallInteger,
  time,
  utf8String,
} from './der.ts';
import { oids } from './object-identifiers.ts';
import { algorithmIdentifier, publicKeyInfo, type SignatureAlgorithm } from './signature-algorithm.ts';
import { type SpiffeId, type TrustDomain, trustDomainId } from './spiffe-id.ts';

/** Everything that will stand in a certificate, decided before anything is signed. */
export interface CertificateProfile {
  readonly serial: Buffer;
  /** The DER of the issuer's name. */
  readonly issuer: Der;
  readonly subject: Der;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: KeyObject;
  /** In their order in the certificate. */
  readonly extensions: readonly Der[];
}

interface Validity {
  /** Milliseconds since the epoch; written in whole seconds, the end rounded down. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** RFC 5280 4.1.2.2 allows 20 bytes; 19 of them random are 152 bits, and never negative when written. */
const serialBytes = 19;

/** Positive and never empty: its first byte is neither 0 nor over 127. */
export function randomSerial(random: Random): Buffer {
  const serial = Buffer.from(random.bytes(serialBytes));
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  return serial;
}

/** X.509 SVID of a workload (X509-SVID 4): no subject, and so a critical SAN; it may sign and do nothing else. */
export function leafProfile(
  fields: Validity & { id: SpiffeId; publicKey: KeyObject; serial: Buffer; issuer: Der; issuerKeyId: Buffer },
): CertificateProfile {
  return Object.freeze({
    ...fields,
    subject: sequence(),
    extensions: [
      keyUsage('digitalSignature'),
      extension(oids.extendedKeyUsage, false, sequence(oid(oids.serverAuth), oid(oids.clientAuth))),
      extension(oids.basicConstraints, true, sequence()),
      subjectKeyIdentifier(fields.publicKey),
      authorityKeyIdentifier(fields.issuerKeyId),
      uriSan(fields.id, true),
    ],
  });
}

/** An authority of `trustDomain`. `pathLength` is how many authorities may follow below; roots leave it open. */
export function authorityProfile(
  fields: Validity & {
    trustDomain: TrustDomain;
    kind: 'root' | 'intermediate';
    publicKey: KeyObject;
    serial: Buffer;
    issuer?: { name: Der; keyId: Buffer };
  },
): CertificateProfile {
  const subject = authorityName(fields.kind, fields.publicKey);
  const isRoot = fields.kind === 'root';
  return Object.freeze({
    ...fields,
    subject,
    issuer: fields.issuer?.name ?? subject,
    extensions: [
      keyUsage('keyCertSign', 'cRLSign'),
      extension(oids.basicConstraints, true, sequence(boolean(true), ...(isRoot ? [] : [smallInteger(0)]))),
      subjectKeyIdentifier(fields.publicKey),
      authorityKeyIdentifier(fields.issuer?.keyId ?? keyIdOf(fields.publicKey)),
      uriSan(trustDomainId(fields.trustDomain), false),
    ],
  });
}

/** The part that is signed (RFC 5280 4.1.2). */
export function encodeToBeSigned(profile: CertificateProfile, algorithm: SignatureAlgorithm): Buffer {
  return encodeDer(
    sequence(
      constructed(contextTag(0, 'constructed'), smallInteger(2)),
      integer(profile.serial),
      algorithmIdentifier(algorithm),
      profile.issuer,
      sequence(time(profile.notBefore), time(profile.notAfter)),
      profile.subject,
      publicKeyInfo(profile.publicKey),
      constructed(contextTag(3, 'constructed'), sequence(...profile.extensions)),
    ),
  );
}

/** The leftmost 160 bits of the SHA-256 of the SubjectPublicKeyInfo (RFC 7093 2: methods 1 and 4 taken together). */
export function keyIdOf(publicKey: KeyObject): Buffer {
  return createHash('sha256')
    .update(publicKey.export({ format: 'der', type: 'spki' }))
    .digest()
    .subarray(0, 20);
}

/** The identifier that a certificate states for its key, or the one we would give it. */
export function keyIdOfCertificate(certificate: Certificate): Buffer {
  const { subjectKeyId, publicKey } = certificate;
  return subjectKeyId === undefined ? keyIdOf(publicKey) : Buffer.from(subjectKeyId, 'hex');
}

/** Unique by key: during a rotation two roots must not have one name, or a chain would fit both. */
function authorityName(kind: 'root' | 'intermediate', publicKey: KeyObject): Der {
  const keyId = keyIdOf(publicKey).toString('hex');
  return sequence(
    set(sequence(oid(oids.organizationName), utf8String('cellmesh'))),
    set(sequence(oid(oids.commonName), utf8String(`${kind} ${keyId.slice(0, 16)}`))),
  );
}

export function extension(id: string, critical: boolean, value: Der): Der {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(encodeDer(value)));
}

/** A named BIT STRING: trailing zero bits are not written (X.690 11.2.2). */
export function keyUsage(...usages: readonly KeyUsage[]): Der {
  const indexes = usages.map((usage) => keyUsages.indexOf(usage));
  const bits = indexes.reduce((sum, index) => sum | (0x80 >> index), 0);
  return extension(oids.keyUsage, true, bitString(Buffer.from([bits]), 7 - Math.max(...indexes)));
}

export function subjectKeyIdentifier(publicKey: KeyObject): Der {
  return extension(oids.subjectKeyIdentifier, false, octetString(keyIdOf(publicKey)));
}

export function authorityKeyIdentifier(keyId: Buffer): Der {
  return extension(oids.authorityKeyIdentifier, false, sequence(primitive(contextTag(0, 'primitive'), keyId)));
}

function uriSan(id: SpiffeId, critical: boolean): Der {
  return extension(oids.subjectAltName, critical, sequence(primitive(contextTag(6, 'primitive'), Buffer.from(id))));
}
