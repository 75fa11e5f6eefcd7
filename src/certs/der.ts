import type { asn1 as forge } from 'node-forge';
import asn1 from 'node-forge/lib/asn1.js';
import { CellmeshError } from '#runtime/errors.ts';

/**
 * DER, strictly. This is the only file that touches node-forge, and of it only the ASN.1 codec: keys, hashes and signatures
 * are node:crypto's. Everything about an input that could cost memory or stack is checked by `checkShape`, in one pass
 * without recursion, before forge's recursive decoder sees a byte.
 */
export interface Der {
  /** The identifier octet: class, constructed bit and tag number. */
  readonly tag: number;
  /** What a primitive holds; empty for a constructed value. */
  readonly content: Buffer;
  /** What a constructed value holds; empty for a primitive. */
  readonly children: readonly Der[];
}

/** A certificate of ours has 600 bytes; an operator's RSA-4096 root with many extensions stays below 4 KiB. */
export const derBytesMax = 16 * 1024;
/** A certificate's deepest part, a name inside an extension, lies at 8. */
export const derDepthMax = 16;

export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

const constructedBit = 0x20;
const noBytes = Buffer.alloc(0);

/** The identifier octet of `[number]`. */
export function contextTag(number: number, form: 'primitive' | 'constructed'): number {
  return 0x80 | number | (form === 'constructed' ? constructedBit : 0);
}

/**
 * Decodes exactly one value that fills `bytes`.
 * @throws CellmeshError `der_invalid`: over a limit, truncated, trailing bytes, indefinite or non-minimal lengths, or any other
 * encoding that would not be written back as the same bytes.
 */
export function decodeDer(bytes: Buffer): Der {
  checkShape(bytes);
  let der: Der;
  let encoded: Buffer;
  try {
    const options = { strict: true, parseAllBytes: true, decodeBitStrings: false, maxDepth: derDepthMax + 1 };
    const decoded = asn1.fromDer(bytes.toString('latin1'), options as never);
    encoded = Buffer.from(asn1.toDer(decoded).getBytes(), 'latin1');
    der = fromForge(decoded);
  } catch (cause) {
    throw new CellmeshError('der_invalid', 'the DER encoding cannot be read', { cause });
  }
  // What is signed are bytes, what is decided on are values: an encoding with two readings is no encoding.
  if (!encoded.equals(bytes)) throw derInvalid('it is not the shortest encoding of its value');
  return der;
}

export function encodeDer(der: Der): Buffer {
  return Buffer.from(asn1.toDer(toForge(der)).getBytes(), 'latin1');
}

export function constructed(tag: number, ...children: readonly Der[]): Der {
  return { tag: tag | constructedBit, content: noBytes, children };
}

export function primitive(tag: number, content: Uint8Array): Der {
  return { tag, content: Buffer.from(content), children: [] };
}

export function sequence(...children: readonly Der[]): Der {
  return constructed(tags.sequence, ...children);
}

export function set(...children: readonly Der[]): Der {
  return constructed(tags.set, ...children);
}

export function oid(dotted: string): Der {
  return primitive(tags.oid, Buffer.from(asn1.oidToDer(dotted).getBytes(), 'latin1'));
}

/** A non-negative integer from its big-endian bytes. */
export function integer(bytes: Uint8Array): Der {
  const start = bytes.findIndex((byte) => byte !== 0);
  const digits = start === -1 ? Buffer.from([0]) : Buffer.from(bytes.subarray(start));
  return primitive(tags.integer, digits[0]! < 0x80 ? digits : Buffer.concat([Buffer.from([0]), digits]));
}

export function smallInteger(value: number): Der {
  return integer(Buffer.from([value]));
}

export function boolean(value: boolean): Der {
  return primitive(tags.boolean, Buffer.from([value ? 0xff : 0]));
}

export function octetString(content: Uint8Array): Der {
  return primitive(tags.octetString, content);
}

export function bitString(bits: Uint8Array, unusedBits = 0): Der {
  return primitive(tags.bitString, Buffer.concat([Buffer.from([unusedBits]), bits]));
}

export function utf8String(text: string): Der {
  return primitive(tags.utf8String, Buffer.from(text, 'utf8'));
}

/** RFC 5280 4.1.2.5: UTCTime through the year 2049, GeneralizedTime after; whole seconds, always Z. */
export function time(ms: number): Der {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\..*/g, '');
  const isUtcTime = digits < '2050';
  return primitive(
    isUtcTime ? tags.utcTime : tags.generalizedTime,
    Buffer.from(`${isUtcTime ? digits.slice(2) : digits}Z`),
  );
}

/** The children of a value that must have `tag` (by default: of a SEQUENCE). @throws CellmeshError `der_invalid` */
export function childrenOf(der: Der | undefined, tag: number = tags.sequence): readonly Der[] {
  return expectTag(der, tag).children;
}

export function contentOf(der: Der | undefined, tag: number): Buffer {
  return expectTag(der, tag).content;
}

export function readOid(der: Der | undefined): string {
  const content = contentOf(der, tags.oid);
  if (content.length < 2 || content.at(-1)! >= 0x80) throw derInvalid('an object identifier is cut short');
  try {
    const dotted = asn1.derToOid(content.toString('latin1'));
    // forge counts in 32 bits and skips padding: without this, a second spelling of a known identifier would pass for it.
    if (oid(dotted).content.equals(content)) return dotted;
  } catch {
    // Beyond 32 bits forge decodes and does not encode: refused below like every other identifier that does not come back.
  }
  throw derInvalid('an object identifier is padded or out of range');
}

export function readBoolean(der: Der | undefined): boolean {
  const content = contentOf(der, tags.boolean);
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) throw derInvalid('a boolean is not 0 or 255');
  return content[0] === 0xff;
}

/** The bytes of an INTEGER as written (two's complement). */
export function readInteger(der: Der | undefined): Buffer {
  const content = contentOf(der, tags.integer);
  if (content.length === 0) throw derInvalid('an integer is empty');
  return content;
}

/** A non-negative INTEGER of at most two bytes: versions and path lengths. */
export function readSmallInteger(der: Der | undefined): number {
  const content = readInteger(der);
  if (content.length > 2 || content[0]! >= 0x80) throw derInvalid('an integer is out of range');
  return content.readUIntBE(0, content.length);
}

/** The bits of a BIT STRING, most significant first, and how many of the last byte do not count (those are zero). */
export function readBitString(der: Der | undefined): { readonly bits: Buffer; readonly unusedBits: number } {
  const content = contentOf(der, tags.bitString);
  const unusedBits = content[0] ?? 8;
  const bits = content.subarray(1);
  const last = bits.at(-1);
  if (unusedBits > 7 || (last === undefined && unusedBits !== 0)) throw derInvalid('a bit string is malformed');
  if (last !== undefined && (last & ((1 << unusedBits) - 1)) !== 0)
    throw derInvalid('unused bits of a bit string are set');
  return { bits, unusedBits };
}

/** Milliseconds since the epoch of a UTCTime or GeneralizedTime in the one form that RFC 5280 4.1.2.5 allows. */
export function readTime(der: Der | undefined): number {
  if (der?.tag !== tags.utcTime && der?.tag !== tags.generalizedTime) throw derInvalid('a time is expected');
  const text = der.content.toString('latin1');
  const isUtcTime = der.tag === tags.utcTime;
  const match = /^(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (match === null || match[1]!.length !== (isUtcTime ? 2 : 4)) throw derInvalid('a time is malformed');
  const [, yearText, month, day, hour, minute, second] = match as unknown as [string, ...string[]];
  const year = isUtcTime ? Number(yearText) + (Number(yearText) < 50 ? 2000 : 1900) : Number(yearText);
  const iso = `${String(year).padStart(4, '0')}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const ms = Date.parse(iso);
  // Date.parse lets February 30 roll over; what does not come back the same never was a date.
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== iso) throw derInvalid('a time is not in the calendar');
  return ms;
}

export function derInvalid(reason: string): CellmeshError {
  return new CellmeshError('der_invalid', `the DER encoding is refused: ${reason}`);
}

function expectTag(der: Der | undefined, tag: number): Der {
  if (der?.tag !== tag) {
    throw derInvalid(
      `tag 0x${tag.toString(16)} is expected, ${der === undefined ? 'nothing' : `0x${der.tag.toString(16)}`} found`,
    );
  }
  return der;
}

/** One pass over tags and lengths with an explicit stack of ends: nothing here grows with what the lengths claim. */
function checkShape(bytes: Buffer): void {
  if (bytes.length > derBytesMax) throw derInvalid(`it is longer than ${derBytesMax} bytes`);
  const ends: number[] = [bytes.length];
  let position = 0;
  let valuesAtTop = 0;
  while (position < bytes.length) {
    while (ends.length > 1 && position === ends.at(-1)) ends.pop();
    if (ends.length === 1 && valuesAtTop++ > 0) throw derInvalid('bytes follow its end');
    const tag = bytes[position]!;
    // 31 announces a longer tag number; 30 is BMPString, which forge decodes into text. Certificates need neither.
    if ((tag & 0x1f) >= 0x1e) throw derInvalid('it has a tag number above 29');
    const { length, start } = readLength(bytes, position + 1);
    const end = start + length;
    if (end > ends.at(-1)!) throw derInvalid('a value is longer than what holds it');
    if ((tag & constructedBit) === 0) position = end;
    else {
      ends.push(end);
      if (ends.length - 1 > derDepthMax) throw derInvalid(`it is deeper than ${derDepthMax}`);
      position = start;
    }
  }
  if (valuesAtTop === 0) throw derInvalid('it is empty');
}

/** X.690 8.1.3 and 10.1: definite, as short as possible; two length bytes cover `derBytesMax`. */
function readLength(bytes: Buffer, position: number): { length: number; start: number } {
  const first = bytes[position];
  if (first === undefined) throw derInvalid('it ends before a length');
  if (first < 0x80) return { length: first, start: position + 1 };
  const count = first & 0x7f;
  if (count === 0) throw derInvalid('a length is indefinite');
  if (count > 2) throw derInvalid('a length is out of range');
  if (position + count >= bytes.length) throw derInvalid('it ends inside a length');
  const length = bytes.readUIntBE(position + 1, count);
  if (length < 0x80 || (count === 2 && length < 0x100)) throw derInvalid('a length is not minimal');
  return { length, start: position + 1 + count };
}

function fromForge(node: forge.Asn1): Der {
  const tag = node.tagClass | node.type | (node.constructed ? constructedBit : 0);
  if (Array.isArray(node.value)) return { tag, content: noBytes, children: node.value.map(fromForge) };
  return { tag, content: Buffer.from(node.value, 'latin1'), children: [] };
}

function toForge(der: Der): forge.Asn1 {
  const isConstructed = (der.tag & constructedBit) !== 0;
  const value = isConstructed ? der.children.map(toForge) : der.content.toString('latin1');
  return asn1.create(der.tag & 0xc0, der.tag & 0x1f, isConstructed, value as never);
}
