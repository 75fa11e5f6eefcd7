import { type FieldSet, fieldIdOf, fieldIds, hopByHopFields, type SpecialFieldName } from '../field-names.ts';
import { forbiddenTrailers } from '../forbidden-trailers.ts';
import type { Fields } from '../message.ts';
import { ruleBroken } from '../wire-error.ts';
import type { DecodedBlock } from './decoded-block.ts';
import { type DecodedField, entryOverheadBytes } from './decoded-field.ts';

/** What follows the pseudo-header fields of a block. */
export class Http2Fields implements Fields {
  readonly #fields: readonly DecodedField[];
  /** Where they begin in `#fields`. */
  readonly #start: number;
  /** Which special fields there are, a bit for each id: most that are asked for are absent. */
  readonly #presentLow: number;
  readonly #presentHigh: number;
  /** What `linesExcept` was asked last, and what it said. */
  #dropped: FieldSet | undefined;
  #lines = '';
  #isInOnePiece = false;

  /**
   * `start`: how many pseudo-header fields `fields` begins with.
   * @throws WireError when a field is one of the connection, longer than `lineBytesMax`, or a pseudo-header field out of its place
   */
  constructor(fields: readonly DecodedField[], start: number, lineBytesMax: number) {
    // Name, value, colon and space.
    const sizeMax = lineBytesMax - 2 + entryOverheadBytes;
    let low = 0;
    let high = 0;
    for (let at = start; at < fields.length; at++) {
      const { id, isPseudo, isOfConnection, size } = fields[at]!;
      if (isPseudo) throw ruleBroken('pseudo_field', 'a pseudo-header field stands after a field, or in trailers');
      if (size > sizeMax) throw ruleBroken('field_line_size', `a field line is longer than ${lineBytesMax} bytes`);
      if (isOfConnection) throw ruleBroken('connection_field', 'a field of the connection has no place in HTTP/2');
      if (id < 32) low |= 1 << id;
      else high |= 1 << (id - 32);
    }
    this.#fields = fields;
    this.#start = start;
    this.#presentLow = low;
    this.#presentHigh = high;
  }

  field(name: SpecialFieldName): string | undefined {
    return this.fieldById(fieldIdOf(name));
  }

  fieldCount(name: SpecialFieldName): number {
    return this.countById(fieldIdOf(name));
  }

  fieldById(id: number): string | undefined {
    if (!this.has(id)) return undefined;
    const fields = this.#fields;
    for (let at = this.#start; at < fields.length; at++) if (fields[at]!.id === id) return fields[at]!.value;
    return undefined;
  }

  countById(id: number): number {
    if (!this.has(id)) return 0;
    const fields = this.#fields;
    let count = 0;
    for (let at = this.#start; at < fields.length; at++) if (fields[at]!.id === id) count++;
    return count;
  }

  find(name: string): string | undefined {
    let found: string | undefined;
    for (const field of this.#fields.slice(this.#start)) {
      if (field.name === name) found = found === undefined ? field.value : `${found}, ${field.value}`;
    }
    return found;
  }

  *entries(): IterableIterator<readonly [name: string, value: string]> {
    for (const { name, value } of this.#fields.slice(this.#start)) yield [name, value];
  }

  linesExcept(drop: FieldSet): string {
    if (drop === this.#dropped) return this.#linesAgain();
    this.#dropped = drop;
    this.#isInOnePiece = false;
    this.#lines = this.#linesWithout(drop);
    return this.#lines;
  }

  /** Of the head of many messages: one piece of text costs less to write than as many as there are fields. */
  #linesAgain(): string {
    if (!this.#isInOnePiece) this.#lines = Buffer.from(this.#lines, 'latin1').toString('latin1');
    this.#isInOnePiece = true;
    return this.#lines;
  }

  #linesWithout(drop: FieldSet): string {
    let lines = '';
    let cookies: string | undefined;
    const fields = this.#fields;
    const hasOtherNames = drop.otherNames.size !== 0;
    for (let at = this.#start; at < fields.length; at++) {
      const field = fields[at]!;
      const { id } = field;
      if (id !== 0) {
        if (drop.hasId[id] !== 0 || hopByHopFields.hasId[id] !== 0) continue;
        if (id === fieldIds.cookie) {
          // A cookie may come in pieces, which are one field for everybody else (RFC 9113 8.2.3).
          cookies = cookies === undefined ? field.value : `${cookies}; ${field.value}`;
          continue;
        }
      }
      if (hasOtherNames && drop.otherNames.has(field.name)) continue;
      lines += field.line;
    }
    return cookies === undefined ? lines : `${lines}cookie: ${cookies}\r\n`;
  }

  /** `id`: as in `fieldIds`. */
  protected has(id: number): boolean {
    return ((id < 32 ? this.#presentLow >>> id : this.#presentHigh >>> (id - 32)) & 1) !== 0;
  }
}

class Http2Trailers extends Http2Fields {}

/** The lines of a block that has no problem, without what must not stand there. `lineBytesMax`: of the connection. @throws WireError */
export function trailersOf(block: DecodedBlock, lineBytesMax: number): string {
  if (!(block.message instanceof Http2Trailers)) block.message = new Http2Trailers(block.fields, 0, lineBytesMax);
  return block.message.linesExcept(forbiddenTrailers);
}
