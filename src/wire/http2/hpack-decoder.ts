import { ruleBroken, type WireError } from '../wire-error.ts';
import { DecodedBlock, KnownBlocks } from './decoded-block.ts';
import { DecodedField, type DecodedName, decodedName } from './decoded-field.ts';
import { decodeHuffman } from './huffman.ts';
import { ConnectionFault, errorCode } from './protocol.ts';
import { staticTable } from './static-table.ts';

export interface BlockLimits {
  /** Of name, value and 32 for each field: SETTINGS_MAX_HEADER_LIST_SIZE. */
  readonly listBytesMax: number;
  readonly fieldsMax: number;
}

const defaultTableBytes = 4096;
/** Continuation bytes of an integer: 28 bits hold every length and index that can be right. */
const integerShiftMax = 21;
/** A string that is longer than this cannot belong to a head that is accepted; decoding it would only cost. */
const stringBytesMax = 64 * 1024;
const scratch = Buffer.allocUnsafeSlow(stringBytesMax);

const staticFields = staticTable.map(([name, value]) => new DecodedField(decodedName(name, true), value, true));

/** Bytes of a lower-case token (RFC 9110 5.6.2 and RFC 9113 8.2). */
const nameBytes = byteSet("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz");
/** As in HTTP/1.1 (`scan-head.ts`): visible ASCII, space and tab. */
const valueBytes = byteSet('\t', 0x20, 0x7e);

/**
 * Reads header blocks (RFC 7541). The table follows what the peer says even in blocks that are refused, and nothing that is over a limit is kept
 * for the message.
 */
export class HpackDecoder {
  readonly #tableBytesLimit: number;
  #tableBytesMax: number;
  #tableBytes = 0;
  /** Dynamic entries, the oldest at `#first`; the array is cut when half of it is gone. */
  #entries: DecodedField[] = [];
  #first = 0;
  readonly #knownBlocks = new KnownBlocks();
  #at = 0;
  /** The string that was read last may be a value. */
  #isValue = false;

  /** `tableBytesLimit`: what SETTINGS_HEADER_TABLE_SIZE allows the peer. */
  constructor(tableBytesLimit: number) {
    this.#tableBytesLimit = tableBytesLimit;
    this.#tableBytesMax = Math.min(defaultTableBytes, tableBytesLimit);
  }

  get tableBytes(): number {
    return this.#tableBytes;
  }

  /** `limits`: the same for all blocks. @throws ConnectionFault COMPRESSION_ERROR: the table is out of step for good */
  decode(bytes: Buffer, start: number, end: number, limits: BlockLimits): DecodedBlock {
    const known = this.#knownBlocks.find(bytes, start, end);
    if (known !== undefined) return known;
    const { listBytesMax, fieldsMax } = limits;
    const fields: DecodedField[] = [];
    let problem: WireError | undefined;
    let listBytes = 0;
    let mayResize = true;
    let isOfEntries = true;
    this.#at = start;
    while (this.#at < end) {
      const first = bytes[this.#at]!;
      if ((first & 0xe0) === 0x20) {
        if (!mayResize) throw compressionFault('a table size update stands after a field');
        isOfEntries = false;
        this.#resize(this.#integer(bytes, end, 0x1f));
        continue;
      }
      mayResize = false;
      const isEntry = (first & 0x80) !== 0;
      isOfEntries &&= isEntry;
      const field = isEntry ? this.#entry(this.#integer(bytes, end, 0x7f)) : this.#literal(bytes, end, first);
      listBytes += field.size;
      if (listBytes <= listBytesMax && fields.length < fieldsMax && field.isValid) fields.push(field);
      else problem ??= problemOf(listBytes, fields.length, limits);
    }
    const block = new DecodedBlock(fields, problem);
    if (isOfEntries && problem === undefined) this.#knownBlocks.note(bytes, start, end, block);
    return block;
  }

  #literal(bytes: Buffer, end: number, first: number): DecodedField {
    const isIndexed = (first & 0x40) !== 0;
    const index = this.#integer(bytes, end, isIndexed ? 0x3f : 0x0f);
    const name = index === 0 ? internedName(this.#string(bytes, end)) : this.#entry(index).decodedName;
    const value = this.#string(bytes, end);
    const field = new DecodedField(name, value, this.#isValue);
    if (isIndexed) this.#insert(field);
    return field;
  }

  #entry(index: number): DecodedField {
    if (index === 0) throw compressionFault('index 0 is used');
    if (index <= staticFields.length) return staticFields[index - 1]!;
    const at = this.#entries.length - (index - staticFields.length);
    if (at < this.#first) throw compressionFault('an index is beyond the table');
    return this.#entries[at]!;
  }

  #insert(field: DecodedField): void {
    this.#knownBlocks.forget();
    this.#evictTo(this.#tableBytesMax - field.size);
    if (field.size > this.#tableBytesMax) return;
    this.#entries.push(field);
    this.#tableBytes += field.size;
  }

  #resize(size: number): void {
    if (size > this.#tableBytesLimit) throw compressionFault('the table size is above what was allowed');
    this.#knownBlocks.forget();
    this.#tableBytesMax = size;
    this.#evictTo(size);
  }

  #evictTo(size: number): void {
    while (this.#tableBytes > size && this.#first < this.#entries.length) {
      this.#tableBytes -= this.#entries[this.#first++]!.size;
    }
    if (this.#first > 64 && this.#first * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first);
      this.#first = 0;
    }
  }

  /** An integer with a prefix of as many bits as `mask` has (section 5.1). */
  #integer(bytes: Buffer, end: number, mask: number): number {
    let value = bytes[this.#at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; ; shift += 7) {
      if (this.#at >= end || shift > integerShiftMax) throw compressionFault('an integer is cut off or too long');
      const byte = bytes[this.#at++]!;
      value += (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return value;
    }
  }

  #string(bytes: Buffer, end: number): string {
    if (this.#at >= end) throw compressionFault('a string is missing');
    const isHuffman = (bytes[this.#at]! & 0x80) !== 0;
    const length = this.#integer(bytes, end, 0x7f);
    const start = this.#at;
    if (start + length > end) throw compressionFault('a string is longer than its block');
    this.#at = start + length;
    if (!isHuffman) return this.#text(bytes, start, this.#at);
    const decoded = decodeHuffman(bytes, start, this.#at, scratch);
    if (decoded < 0) throw compressionFault('a string is no Huffman code, or too long');
    return this.#text(scratch, 0, decoded);
  }

  #text(bytes: Buffer, start: number, end: number): string {
    this.#isValue = isValidValue(bytes, start, end);
    return bytes.toString('latin1', start, end);
  }
}

/** Why a field does not get into its message, which has `count` already. `listBytes`: up to and with it. */
function problemOf(listBytes: number, count: number, limits: BlockLimits): WireError {
  const { listBytesMax, fieldsMax } = limits;
  if (listBytes > listBytesMax) return ruleBroken('head_size', `the head is longer than ${listBytesMax} bytes`);
  if (count === fieldsMax) return ruleBroken('fields_count', `the head has more than ${fieldsMax} fields`);
  return ruleBroken('field_value', 'a field name or value has a byte that HTTP/2 does not allow');
}

/** Names that were seen, valid or not: few in practice, and bounded against those who send many. */
const names = new Map<string, DecodedName>();
const namesMax = 2_000;

function internedName(text: string): DecodedName {
  let name = names.get(text);
  if (name === undefined) {
    if (names.size >= namesMax) names.clear();
    name = decodedName(text, isValidName(text));
    names.set(text, name);
  }
  return name;
}

function isValidName(name: string): boolean {
  const start = name.charCodeAt(0) === 0x3a ? 1 : 0;
  for (let i = start; i < name.length; i++) if (nameBytes[name.charCodeAt(i)] === 0) return false;
  return name.length > start;
}

/** Neither begins nor ends with white space (RFC 9113 8.2.1). Of bytes: to look at a text's characters costs more. */
function isValidValue(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (valueBytes[bytes[i]!] === 0) return false;
  return start === end || (!isBlank(bytes[start]!) && !isBlank(bytes[end - 1]!));
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function byteSet(characters: string, from = 1, to = 0): Uint8Array {
  const set = new Uint8Array(256);
  for (const character of characters) set[character.charCodeAt(0)] = 1;
  for (let byte = from; byte <= to; byte++) set[byte] = 1;
  return set;
}

function compressionFault(message: string): ConnectionFault {
  return new ConnectionFault(errorCode.compressionError, message);
}
