import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { CellmeshError } from '#runtime/errors.ts';
import { parseExtensions } from './certificate-extensions.ts';
import {
  bitString,
  childrenOf,
  constructed,
  contextTag,
  type Der,
  decodeDer,
  derInvalid,
  encodeDer,
  readBitString,
  readOid,
  readSmallInteger,
  sequence,
  smallInteger,
  tags,
} from './der.ts';
import { oids } from './object-identifiers.ts';
import { algorithmIdentifier, digestOf, keyAlgorithmOf, publicKeyInfo, readAlgorithm } from './signature-algorithm.ts';

/** What a request proves, the possession of a key, and what it asks for; the authority decides the name by other evidence. */
interface VerifiedCsr {
  readonly publicKey: KeyObject;
  /** Requested URI SANs; ours ask for none. */
  readonly uriSans: readonly string[];
}

/** Leaves are P-256 with ECDSA and SHA-256 (DESIGN.md 5): requests for anything else are not signed. */
const requestAlgorithm = 'ecdsa-sha256';

/** The DER of a PKCS#10 request (RFC 2986) for a P-256 key: no subject, no attributes. The name comes from the evidence. */
export function createCsr(privateKey: KeyObject): Buffer {
  const publicKey = createPublicKey(privateKey);
  const info = sequence(
    smallInteger(0),
    sequence(),
    publicKeyInfo(publicKey),
    constructed(contextTag(0, 'constructed')),
  );
  const signature = sign(digestOf[requestAlgorithm], encodeDer(info), privateKey);
  return encodeDer(sequence(info, algorithmIdentifier(requestAlgorithm), bitString(signature)));
}

/**
 * Reads a request and proves that its maker holds the private key.
 * @throws CellmeshError `csr_invalid`
 */
export function verifyCsr(der: Uint8Array): VerifiedCsr {
  try {
    return readCsr(Buffer.from(der));
  } catch (cause) {
    if (!(cause instanceof CellmeshError)) throw cause;
    throw new CellmeshError('csr_invalid', `the certification request is refused: ${cause.message}`, { cause });
  }
}

function readCsr(der: Buffer): VerifiedCsr {
  const [info, algorithm, signatureBits, ...rest] = childrenOf(decodeDer(der));
  const [version, subject, subjectPublicKey, attributes, ...more] = childrenOf(info);
  if (rest.length > 0 || more.length > 0) throw derInvalid('it has too many parts');
  if (info === undefined || algorithm === undefined) throw derInvalid('a part is missing');
  if (readSmallInteger(version) !== 0) throw derInvalid('only version 1 is accepted');
  childrenOf(subject);
  const publicKey = readPublicKey(subjectPublicKey);
  if (keyAlgorithmOf(publicKey) !== 'p256') throw new CellmeshError('csr_invalid', 'only P-256 keys are signed');
  if (readAlgorithm(algorithm) !== requestAlgorithm) {
    throw new CellmeshError('csr_invalid', 'only ECDSA with SHA-256 is accepted as its signature');
  }
  const { bits, unusedBits } = readBitString(signatureBits);
  if (unusedBits !== 0 || !verify(digestOf[requestAlgorithm], encodeDer(info), publicKey, bits)) {
    throw new CellmeshError('csr_invalid', 'the signature was not made by the key that it asks for');
  }
  return { publicKey, uriSans: requestedUriSans(attributes) };
}

function readPublicKey(info: Der | undefined): KeyObject {
  childrenOf(info);
  try {
    return createPublicKey({ key: encodeDer(info!), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new CellmeshError('csr_invalid', 'the public key cannot be used', { cause });
  }
}

/** RFC 2986 4.1 makes the attributes mandatory, and many writers leave the empty set out. */
function requestedUriSans(attributes: Der | undefined): readonly string[] {
  if (attributes === undefined) return [];
  for (const attribute of childrenOf(attributes, contextTag(0, 'constructed'))) {
    const [type, values] = childrenOf(attribute);
    if (readOid(type) !== oids.extensionRequest) continue;
    return parseExtensions(childrenOf(values, tags.set)[0]).uriSans;
  }
  return [];
}
