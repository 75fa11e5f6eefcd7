import type { ByteBuffer } from '../byte-buffer.ts';
import { entryOverheadBytes } from './decoded-field.ts';
import { type KnownLine, type KnownName, LineMemory } from './line-memory.ts';

const defaultTableBytes = 4096;
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
  readonly #memory = new LineMemory();

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
    const memory = this.#memory;
    const { length } = lines;
    let place = memory.startOf(lines);
    for (let at = 0; at < length; ) {
      const { run, line } = place;
      // Here and below: twenty times as fast as `startsWith`, which compares character by character.
      if (run !== undefined) {
        if (lines.slice(at, at + run.text.length) === run.text) {
          for (const each of run.lines) this.#emit(each, out);
          at += run.text.length;
          place = run.after;
          continue;
        }
        memory.dropRun(place);
      }
      if (line !== undefined && lines.slice(at, at + line.text.length) === line.text) {
        this.#emit(line, out);
        memory.cameAgain(place, line);
        at += line.text.length;
        place = line.after;
        continue;
      }
      const end = lines.indexOf('\r\n', at) + 2;
      const name = memory.nameAt(lines, at, place);
      const value = trimmed(lines, at + name.prefix.length, end - 2);
      const known = memory.find(place, name, value, lines, at, end);
      if (known === undefined) this.#emitNew(name, value, out);
      else this.#emit(known, out);
      at = end;
      memory.noteChange(place, name, known);
      place = (known ?? name).after;
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
      out.ensure(integerBytesMax);
      writeInteger(out, 0x20, 0x1f, bytes);
    }
  }

  #emit(line: KnownLine, out: ByteBuffer): void {
    const index = line.staticIndex !== 0 ? line.staticIndex : this.#indexOf(line.insertion);
    if (index !== 0) {
      out.ensure(integerBytesMax);
      writeInteger(out, 0x80, 0x7f, index);
    } else this.#emitAbsent(line, out);
  }

  /** A line that was seen before, and is not in the peer's table. */
  #emitAbsent(line: KnownLine, out: ByteBuffer): void {
    const { name, value, size } = line;
    out.ensure(size);
    if (size <= this.#tableBytesMax * entryShare) {
      writeName(out, 0x40, 0x3f, name, this.#nameIndex(name));
      writeString(out, value);
      line.insertion = this.#insert(size);
      name.insertion = line.insertion;
    } else this.#emitLiteral(name, value, out);
  }

  /** A line that was not seen before. Its name enters the table once, so that later ones need a byte or two for it. */
  #emitNew(name: KnownName, value: string, out: ByteBuffer): void {
    const size = name.text.length + value.length + entryOverheadBytes;
    out.ensure(size);
    const isKnownName = name.staticIndex !== 0 || name.insertion > this.#evictions;
    if (!isKnownName && name.uses++ > 0 && size <= this.#tableBytesMax * entryShare && !name.isNeverIndexed) {
      writeName(out, 0x40, 0x3f, name, 0);
      writeString(out, value);
      name.insertion = this.#insert(size);
    } else this.#emitLiteral(name, value, out);
  }

  #emitLiteral(name: KnownName, value: string, out: ByteBuffer): void {
    writeName(out, name.isNeverIndexed ? 0x10 : 0x00, 0x0f, name, this.#nameIndex(name));
    writeString(out, value);
  }

  #nameIndex(name: KnownName): number {
    if (name.staticIndex !== 0) return name.staticIndex;
    return this.#indexOf(name.insertion);
  }

  /** 0 when it is not in the peer's table. */
  #indexOf(insertion: number): number {
    return insertion > this.#evictions ? this.#insertions - insertion + 62 : 0;
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

const integerBytesMax = 6;

/** An integer with a prefix of as many bits as `mask` has (section 5.1). */
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

function writeName(out: ByteBuffer, first: number, mask: number, name: KnownName, index: number): void {
  writeInteger(out, first, mask, index);
  if (index === 0) writeString(out, name.text);
}

/** Shorter strings are written faster without a call into the engine. */
const writtenByHandMax = 16;

function writeString(out: ByteBuffer, text: string): void {
  const { length } = text;
  writeInteger(out, 0x00, 0x7f, length);
  const { bytes } = out;
  if (length > writtenByHandMax) out.length += bytes.write(text, out.length, 'latin1');
  else for (let i = 0; i < length; i++) bytes[out.length++] = text.charCodeAt(i);
}

/** What stands between `start` and `end`, without the blanks around it. */
function trimmed(lines: string, start: number, end: number): string {
  let from = start;
  let to = end;
  while (from < to && isBlank(lines.charCodeAt(from))) from++;
  while (to > from && isBlank(lines.charCodeAt(to - 1))) to--;
  return lines.slice(from, to);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
