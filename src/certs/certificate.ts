import { type KeyObject, X509Certificate } from 'node:crypto';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { type Extensions, noExtensions, parseExtensions } from './certificate-extensions.ts';
import {
  childrenOf,
  contentOf,
  contextTag,
  type Der,
  decodeDer,
  derInvalid,
  encodeDer,
  readBitString,
  readInteger,
  readSmallInteger,
  readTime,
  tags,
} from './der.ts';
import { pemBlocks } from './pem.ts';
import { type KeyAlgorithm, keyAlgorithmOf, readAlgorithm, type SignatureAlgorithm } from './signature-algorithm.ts';

/**
 * What a certificate says, read from its DER, since Node shows neither KeyUsage bits nor criticality nor path lengths. These are
 * facts, not verdicts: `svid-rules.ts` decides.
 */
export interface Certificate extends Extensions {
  readonly der: Buffer;
  /** Lower-case hex of the two's complement bytes, as logs and revocations name it. */
  readonly serial: string;
  /** The DER of the names, for comparing. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly hasSubject: boolean;
  /** Milliseconds since the epoch; both ends belong to the validity (RFC 5280 4.1.2.5). */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Undefined when it is none that this project accepts. */
  readonly signatureAlgorithm: SignatureAlgorithm | undefined;
  readonly keyAlgorithm: KeyAlgorithm | undefined;
  readonly publicKey: KeyObject;
  /** Whether the holder of `issuerKey` signed this certificate. */
  isSignedBy(issuerKey: KeyObject): boolean;
}

/** A chain has at most 4 certificates, a bundle 32 roots; a file with more is not one of ours. */
const pemCertificatesMax = 64;
/** RFC 5280 4.1.2.2. */
const serialBytesMax = 20;

/**
 * @throws CellmeshError `certificate_invalid` when the bytes are not one well-formed version 3 certificate
 */
export function parseCertificate(bytes: Uint8Array): Certificate {
  // A copy: what Node hands out may be a view of a buffer that is used again.
  const der = Buffer.from(bytes);
  try {
    const x509 = parseByNode(der);
    return Object.freeze(readCertificate(der, x509));
  } catch (cause) {
    if (!(cause instanceof CellmeshError)) throw cause;
    throw new CellmeshError('certificate_invalid', `the certificate cannot be read: ${cause.message}`, { cause });
  }
}

/**
 * The certificates of a PEM text in their order; other text around the blocks is ignored.
 * @throws CellmeshError `certificate_invalid`, also when there is none
 */
export function parseCertificatesPem(pem: string): readonly Certificate[] {
  const blocks = pemBlocks(pem, 'CERTIFICATE', pemCertificatesMax + 1);
  if (blocks.length === 0) throw new CellmeshError('certificate_invalid', 'the PEM text holds no certificate');
  if (blocks.length > pemCertificatesMax) {
    throw new CellmeshError('certificate_invalid', `the PEM text holds more than ${pemCertificatesMax} certificates`);
  }
  return blocks.map(parseCertificate);
}

function readCertificate(der: Buffer, x509: X509Certificate): Certificate {
  const [tbs, outerAlgorithm, signature, ...rest] = childrenOf(decodeDer(der));
  if (rest.length > 0) throw derInvalid('a certificate has three parts');
  readBitString(signature);
  const fields = [...childrenOf(tbs)];
  const version = fields[0]?.tag === contextTag(0, 'constructed') ? childrenOf(fields.shift(), 0xa0)[0] : undefined;
  if (version === undefined || readSmallInteger(version) !== 2) throw derInvalid('only version 3 is accepted');
  const [serial, innerAlgorithm, issuer, validity, subject, subjectPublicKey, ...optional] = fields;
  childrenOf(subjectPublicKey);
  if (encodeDer(expect(innerAlgorithm)).compare(encodeDer(expect(outerAlgorithm))) !== 0) {
    throw derInvalid('the signature algorithm is named twice, differently');
  }
  const [notBefore, notAfter] = childrenOf(validity);
  const publicKey = readPublicKey(x509);
  return {
    der,
    serial: readSerial(serial),
    issuer: encodeName(issuer),
    subject: encodeName(subject),
    hasSubject: childrenOf(subject).length > 0,
    notBefore: readTime(notBefore),
    notAfter: readTime(notAfter),
    signatureAlgorithm: readAlgorithm(expect(outerAlgorithm)),
    keyAlgorithm: keyAlgorithmOf(publicKey),
    publicKey,
    isSignedBy: rememberingByKey((issuerKey) => isSignedBy(x509, issuerKey)),
    ...readOptional(optional),
  };
}

function readOptional(optional: readonly Der[]): Extensions {
  const remaining = [...optional];
  // issuerUniqueID and subjectUniqueID: legal, used by nobody, "MUST NOT" for conforming CAs (RFC 5280 4.1.2.8).
  if (remaining[0]?.tag === 0x81 || remaining[0]?.tag === 0x82) throw derInvalid('it has unique identifiers');
  const [extensions, ...rest] = remaining;
  if (rest.length > 0) throw derInvalid('parts follow the extensions');
  if (extensions === undefined) return noExtensions;
  const [list, ...more] = childrenOf(extensions, contextTag(3, 'constructed'));
  if (more.length > 0) throw derInvalid('the extensions are listed twice');
  return parseExtensions(list);
}

function readSerial(der: Der | undefined): string {
  const bytes = readInteger(der);
  if (bytes.length > serialBytesMax) throw derInvalid(`the serial number is longer than ${serialBytesMax} bytes`);
  return bytes.toString('hex');
}

function encodeName(name: Der | undefined): Buffer {
  for (const relativeName of childrenOf(name)) {
    for (const attribute of childrenOf(relativeName, tags.set)) contentOf(childrenOf(attribute)[0], tags.oid);
  }
  return encodeDer(expect(name));
}

/** A second, independent reading of the same bytes: what OpenSSL cannot parse is refused, whatever our parser thinks. */
function parseByNode(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (cause) {
    throw new CellmeshError('certificate_invalid', messageOf(cause), { cause });
  }
}

function readPublicKey(x509: X509Certificate): KeyObject {
  try {
    return x509.publicKey;
  } catch (cause) {
    throw new CellmeshError('certificate_invalid', 'the public key cannot be used', { cause });
  }
}

/** A signature is checked once against each key: 100 us each time otherwise. */
function rememberingByKey(check: (key: KeyObject) => boolean): (key: KeyObject) => boolean {
  const known = new WeakMap<KeyObject, boolean>();
  return (key) => {
    let holds = known.get(key);
    if (holds === undefined) {
      holds = check(key);
      known.set(key, holds);
    }
    return holds;
  };
}

function isSignedBy(x509: X509Certificate, issuerKey: KeyObject): boolean {
  try {
    return x509.verify(issuerKey);
  } catch {
    // A key of another kind than the signature: OpenSSL throws instead of answering no.
    return false;
  }
}

function expect(der: Der | undefined): Der {
  if (der === undefined) throw derInvalid('a part is missing');
  return der;
}
