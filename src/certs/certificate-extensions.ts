import {
  childrenOf,
  contentOf,
  contextTag,
  type Der,
  decodeDer,
  derInvalid,
  readBitString,
  readBoolean,
  readOid,
  readSmallInteger,
  tags,
} from './der.ts';
import { oids } from './object-identifiers.ts';

/** In the order of their bits (RFC 5280 4.2.1.3). */
export const keyUsages = [
  'digitalSignature',
  'contentCommitment',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;

export type KeyUsage = (typeof keyUsages)[number];

interface KeyUsageExtension {
  readonly critical: boolean;
  readonly usages: ReadonlySet<KeyUsage>;
}

interface BasicConstraintsExtension {
  readonly critical: boolean;
  readonly isAuthority: boolean;
  readonly pathLength?: number;
}

interface ExtendedKeyUsageExtension {
  readonly critical: boolean;
  /** Object identifiers. */
  readonly purposes: readonly string[];
}

interface SubjectAltNameExtension {
  readonly critical: boolean;
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** How many names of other kinds (addresses, mail, directory names) there are. */
  readonly others: number;
}

export interface Extensions {
  readonly keyUsage: KeyUsageExtension | undefined;
  readonly basicConstraints: BasicConstraintsExtension | undefined;
  readonly extendedKeyUsage: ExtendedKeyUsageExtension | undefined;
  readonly subjectAltName: SubjectAltNameExtension | undefined;
  /** The URI names of `subjectAltName`, or none. */
  readonly uriSans: readonly string[];
  /** Hex of the subject's key identifier. */
  readonly subjectKeyId: string | undefined;
  /** Critical extensions that this project does not process, by object identifier: each is a reason to refuse. */
  readonly unknownCritical: readonly string[];
}

export const noExtensions: Extensions = {
  keyUsage: undefined,
  basicConstraints: undefined,
  extendedKeyUsage: undefined,
  subjectAltName: undefined,
  uriSans: [],
  subjectKeyId: undefined,
  unknownCritical: [],
};

interface Extension {
  readonly critical: boolean;
  readonly value: Buffer;
}

/**
 * Extensions ::= SEQUENCE OF Extension (RFC 5280 4.2), also as a certification request holds them.
 * @throws CellmeshError `der_invalid`, also when one extension comes twice
 */
export function parseExtensions(list: Der | undefined): Extensions {
  const known = new Map<string, Extension>();
  for (const entry of childrenOf(list)) {
    const { id, ...extension } = parseExtension(entry);
    if (known.has(id)) throw derInvalid(`the extension ${id} comes twice`);
    known.set(id, extension);
  }
  const read = <T>(id: string, parse: (extension: Extension) => T): T | undefined => {
    const extension = known.get(id);
    return extension === undefined ? undefined : parse(extension);
  };
  const subjectAltName = read(oids.subjectAltName, parseSubjectAltName);
  const extensions: Extensions = {
    keyUsage: read(oids.keyUsage, parseKeyUsage),
    basicConstraints: read(oids.basicConstraints, parseBasicConstraints),
    extendedKeyUsage: read(oids.extendedKeyUsage, parseExtendedKeyUsage),
    subjectAltName,
    uriSans: subjectAltName?.uris ?? [],
    subjectKeyId: read(oids.subjectKeyIdentifier, ({ value }) =>
      contentOf(decodeDer(value), tags.octetString).toString('hex'),
    ),
    unknownCritical: [...known].filter(([id, { critical }]) => critical && !processed.has(id)).map(([id]) => id),
  };
  return extensions;
}

/** An authority key identifier is not here: it must not be critical (RFC 5280 4.2.1.1), and helps only to find an issuer. */
const processed: ReadonlySet<string> = new Set([
  oids.keyUsage,
  oids.basicConstraints,
  oids.extendedKeyUsage,
  oids.subjectAltName,
]);

function parseExtension(entry: Der): Extension & { id: string } {
  const [id, second, third, ...rest] = childrenOf(entry);
  // An explicit FALSE breaks DER (it is the default), and old authorities write it; it changes no decision.
  const critical = second?.tag === tags.boolean ? readBoolean(second) : false;
  const [value, surplus] = second?.tag === tags.boolean ? [third, rest[0]] : [second, third];
  if (surplus !== undefined) throw derInvalid('an extension has too many parts');
  return { id: readOid(id), critical, value: contentOf(value, tags.octetString) };
}

/** Zeros after the last bit that is set are not DER (X.690 11.2.2), and other authorities write them; a set bit without a name is refused. */
function parseKeyUsage({ critical, value }: Extension): KeyUsageExtension {
  const { bits } = readBitString(decodeDer(value));
  const isSet = (index: number) => ((bits[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0;
  for (let index = keyUsages.length; index < bits.length * 8; index++) {
    if (isSet(index)) throw derInvalid('the key usage has unknown bits');
  }
  return { critical, usages: new Set(keyUsages.filter((_, index) => isSet(index))) };
}

function parseBasicConstraints({ critical, value }: Extension): BasicConstraintsExtension {
  const parts = [...childrenOf(decodeDer(value))];
  const isAuthority = parts[0]?.tag === tags.boolean ? readBoolean(parts.shift()) : false;
  const [length, ...rest] = parts;
  if (rest.length > 0) throw derInvalid('the basic constraints have too many parts');
  if (length === undefined) return { critical, isAuthority };
  return { critical, isAuthority, pathLength: readSmallInteger(length) };
}

function parseExtendedKeyUsage({ critical, value }: Extension): ExtendedKeyUsageExtension {
  const purposes = childrenOf(decodeDer(value)).map(readOid);
  if (purposes.length === 0) throw derInvalid('the extended key usage is empty');
  return { critical, purposes };
}

/** GeneralNames (RFC 5280 4.2.1.6): 2 is a DNS name, 6 a URI. Text stays bytes (latin1): who reads it judges every one. */
function parseSubjectAltName({ critical, value }: Extension): SubjectAltNameExtension {
  const names = childrenOf(decodeDer(value));
  if (names.length === 0) throw derInvalid('the subject alternative name is empty');
  const texts = (number: number) =>
    names.filter(({ tag }) => tag === contextTag(number, 'primitive')).map(({ content }) => content.toString('latin1'));
  // [6] written as constructed would not count as a URI here, and might for another reader.
  for (const { tag } of names) if ((tag & 0xc0) !== 0x80) throw derInvalid('a general name has no context tag');
  for (const number of [1, 2, 6, 7, 8]) {
    if (names.some(({ tag }) => tag === contextTag(number, 'constructed'))) {
      throw derInvalid('a general name that is a string is constructed');
    }
  }
  const uris = texts(6);
  const dnsNames = texts(2);
  return { critical, uris, dnsNames, others: names.length - uris.length - dnsNames.length };
}
