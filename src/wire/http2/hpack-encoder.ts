import type { ByteBuffer } from '../byte-buffer.ts';
import { entryOverheadBytes } from './decoded-field.ts';
import { staticIndexOfLine, staticIndexOfName } from './static-table.ts';

/** A name, as the encoder writes it. */
interface NameEntry {
  /** As it comes. */
  readonly source: string;
  /** In lower case. */
  readonly text: string;
  readonly staticIndex: number;
  /** Number of the last insertion that had this name; 0 when there is none. */
  insertion: number;
  uses: number;
}

/** A field line that was seen before. */
interface LineEntry {
  readonly line: string;
  readonly name: NameEntry;
  readonly value: string;
  readonly staticIndex: number;
  readonly size: number;
  /** Number of its insertion; it is in the peer's table while that is above the number of evictions. */
  insertion: number;
  /** The line that came after it last time: most likely it does so again. */
  next: LineEntry | undefined;
}

/** RFC 7541 7.1.3: what must not be found by guessing, or changes for every user, and is never indexed by anybody on the way. */
const neverIndexed: ReadonlySet<string> = new Set(['authorization', 'proxy-authorization', 'cookie', 'set-cookie']);

const defaultTableBytes = 4096;
const linesMax = 1_024;
const namesMax = 512;
/** Slots of the filter that tells a line seen before from a new one. */
const seenSlots = 1_024;
/** One field must not fill the table. */
const entryShare = 1 / 8;

/**
 * Writes header blocks (RFC 7541) for one connection. A line enters the table when it is seen for the second time, so that request ids and trace
 * contexts never push out what repeats. Between two sidecars most heads become a few bytes. Nothing is Huffman-coded: with a table it
 * saves little and costs the reader more than it saves.
 */
export class HpackEncoder {
  readonly #tableBytesLimit: number;
  #tableBytesMax = defaultTableBytes;
  #tableBytes = 0;
  #insertions = 0;
  #evictions = 0;
  /** Sizes of the entries in the table, by the number of their insertion, the oldest at `#firstSize`. */
  #sizes: number[] = [];
  #firstSize = 0;
  /** Set when the peer changed its limit: the lowest in between, and the last. */
  #update: { lowest: number; last: number } | undefined;
  // By hash: a `Map` with texts for keys makes each text that it is asked for one of V8's unique strings, which costs a microsecond where it is new.
  readonly #lines = new Map<number, LineEntry>();
  readonly #names = new Map<number, NameEntry>();
  #seen: Int32Array | undefined;
  readonly #start: { next: LineEntry | undefined } = { next: undefined };

  /** `tableBytesLimit`: more is not used, whatever the peer allows. */
  constructor(tableBytesLimit: number) {
    this.#tableBytesLimit = tableBytesLimit;
  }

  /** SETTINGS_HEADER_TABLE_SIZE of the peer. It takes effect at the beginning of the next block. */
  allowTableBytes(bytes: number): void {
    const last = Math.min(bytes, this.#tableBytesLimit);
    const lowest = Math.min(this.#update?.lowest ?? this.#tableBytesMax, last);
    this.#update = { lowest, last };
  }

  /** Appends one block with `lines`: each `name: value` with its CRLF, pseudo-header fields first. */
  encode(lines: string, out: ByteBuffer): void {
    this.#announceUpdate(out);
    let before: { next: LineEntry | undefined } = this.#start;
    const { length } = lines;
    for (let at = 0; at < length; ) {
      const predicted = before.next;
      if (predicted !== undefined) {
        const after = at + predicted.line.length;
        // Twenty times as fast as `startsWith`, which compares character by character.
        if (lines.slice(at, after) === predicted.line) {
          at = after;
          this.#emit(predicted, out);
          before = predicted;
          continue;
        }
      }
      const end = lines.indexOf('\r\n', at) + 2;
      const line = lines.slice(at, end);
      const known = this.#known(line);
      at = end;
      if (known === undefined) this.#emitNew(line, out);
      else {
        this.#emit(known, out);
        before.next = known;
        before = known;
      }
    }
  }

  #announceUpdate(out: ByteBuffer): void {
    const update = this.#update;
    if (update === undefined) return;
    this.#update = undefined;
    for (const bytes of new Set([update.lowest, update.last])) {
      if (bytes === this.#tableBytesMax) continue;
      this.#tableBytesMax = bytes;
      this.#evictTo(bytes);
      out.ensure(6);
      writeInteger(out, 0x20, 0x1f, bytes);
    }
  }

  #emit(entry: LineEntry, out: ByteBuffer): void {
    out.ensure(entry.line.length + 24);
    if (entry.staticIndex !== 0) writeInteger(out, 0x80, 0x7f, entry.staticIndex);
    else if (entry.insertion > this.#evictions) writeInteger(out, 0x80, 0x7f, this.#indexOf(entry.insertion));
    else if (entry.size <= this.#tableBytesMax * entryShare) {
      writeName(out, 0x40, 0x3f, entry.name, this.#nameIndex(entry.name));
      writeString(out, entry.value);
      entry.insertion = this.#insert(entry.size);
      entry.name.insertion = entry.insertion;
    } else this.#emitLiteral(entry.name, entry.value, out);
  }

  /** A line that was not seen before. Its name enters the table once, so that later ones need a byte or two for it. */
  #emitNew(line: string, out: ByteBuffer): void {
    out.ensure(line.length + 24);
    const { name, value } = this.#split(line);
    const size = name.text.length + value.length + entryOverheadBytes;
    const isKnownName = name.staticIndex !== 0 || name.insertion > this.#evictions;
    if (!isKnownName && name.uses++ > 0 && size <= this.#tableBytesMax * entryShare && !neverIndexed.has(name.text)) {
      writeName(out, 0x40, 0x3f, name, 0);
      writeString(out, value);
      name.insertion = this.#insert(size);
    } else this.#emitLiteral(name, value, out);
  }

  #emitLiteral(name: NameEntry, value: string, out: ByteBuffer): void {
    writeName(out, neverIndexed.has(name.text) ? 0x10 : 0x00, 0x0f, name, this.#nameIndex(name));
    writeString(out, value);
  }

  #known(line: string): LineEntry | undefined {
    const hash = hashOf(line);
    const entry = this.#lines.get(hash);
    return entry?.line === line ? entry : this.#learn(line, hash);
  }

  /** An entry for a line that is worth one: seen a moment ago, or in the static table. */
  #learn(line: string, hash: number): LineEntry | undefined {
    const staticIndex = staticIndexOf(line, hash);
    if (staticIndex === 0 && !this.#wasSeen(hash)) return undefined;
    const { name, value } = this.#split(line);
    if (neverIndexed.has(name.text)) return undefined;
    if (this.#lines.size >= linesMax) this.#forgetLines();
    // A slice would keep the whole head alive that it was cut from.
    const copy = copyOf(line);
    const size = name.text.length + value.length + entryOverheadBytes;
    const entry = { line: copy, name, value: copyOf(value), staticIndex, size, insertion: 0, next: undefined };
    this.#lines.set(hash, entry);
    return entry;
  }

  #wasSeen(hash: number): boolean {
    this.#seen ??= new Int32Array(seenSlots);
    const slot = hash & (seenSlots - 1);
    if (this.#seen[slot] === hash) return true;
    this.#seen[slot] = hash;
    return false;
  }

  #forgetLines(): void {
    this.#lines.clear();
    this.#start.next = undefined;
  }

  #split(line: string): { name: NameEntry; value: string } {
    const colon = line.indexOf(':', 1);
    let start = colon + 1;
    let end = line.length - 2;
    while (start < end && isBlank(line.charCodeAt(start))) start++;
    while (end > start && isBlank(line.charCodeAt(end - 1))) end--;
    return { name: this.#name(line.slice(0, colon)), value: line.slice(start, end) };
  }

  #name(text: string): NameEntry {
    const hash = hashOf(text);
    let name = this.#names.get(hash);
    if (name?.source !== text) {
      if (this.#names.size >= namesMax) this.#names.clear();
      const lower = copyOf(text.toLowerCase());
      const staticIndex = staticIndexOfName.get(lower) ?? 0;
      name = { source: copyOf(text), text: lower, staticIndex, insertion: 0, uses: 0 };
      this.#names.set(hash, name);
    }
    return name;
  }

  #nameIndex(name: NameEntry): number {
    if (name.staticIndex !== 0) return name.staticIndex;
    return name.insertion > this.#evictions ? this.#indexOf(name.insertion) : 0;
  }

  #indexOf(insertion: number): number {
    return this.#insertions - insertion + 62;
  }

  #insert(size: number): number {
    this.#evictTo(this.#tableBytesMax - size);
    this.#tableBytes += size;
    this.#sizes.push(size);
    return ++this.#insertions;
  }

  #evictTo(bytes: number): void {
    while (this.#tableBytes > bytes && this.#evictions < this.#insertions) {
      this.#tableBytes -= this.#sizes[this.#firstSize++]!;
      this.#evictions++;
    }
    if (this.#firstSize > 256 && this.#firstSize * 2 > this.#sizes.length) {
      this.#sizes = this.#sizes.slice(this.#firstSize);
      this.#firstSize = 0;
    }
  }
}

/** An integer with a prefix of as many bits as `mask` has (section 5.1). At most six bytes. */
function writeInteger(out: ByteBuffer, first: number, mask: number, value: number): void {
  const { bytes } = out;
  if (value < mask) {
    bytes[out.length++] = first | value;
    return;
  }
  bytes[out.length++] = first | mask;
  let rest = value - mask;
  for (; rest >= 128; rest >>>= 7) bytes[out.length++] = (rest & 0x7f) | 0x80;
  bytes[out.length++] = rest;
}

function writeName(out: ByteBuffer, first: number, mask: number, name: NameEntry, index: number): void {
  writeInteger(out, first, mask, index);
  if (index === 0) writeString(out, name.text);
}

/** Shorter strings are written faster without a call into the engine. */
const writtenByHandMax = 24;

function writeString(out: ByteBuffer, text: string): void {
  const { length } = text;
  writeInteger(out, 0x00, 0x7f, length);
  const { bytes } = out;
  if (length > writtenByHandMax) out.length += bytes.write(text, out.length, 'latin1');
  else for (let i = 0; i < length; i++) bytes[out.length++] = text.charCodeAt(i);
}

interface StaticLine {
  readonly line: string;
  readonly index: number;
}

const staticLines: ReadonlyMap<number, StaticLine> = new Map(
  [...staticIndexOfLine].map(([line, index]) => [hashOf(line), { line, index }]),
);

function staticIndexOf(line: string, hash: number): number {
  const found = staticLines.get(hash);
  return found?.line === line ? found.index : 0;
}

/** Not of the whole text: of its length, its beginning, middle and end, which tells lines of one name apart. */
function hashOf(text: string): number {
  const { length } = text;
  let hash = length;
  for (let i = Math.max(0, length - 14); i < length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  const middle = length >> 1;
  for (let i = middle; i < middle + 4 && i < length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  for (let i = 0; i < 4 && i < length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  hash ^= hash >>> 15;
  return hash === 0 ? 1 : hash;
}

function copyOf(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
