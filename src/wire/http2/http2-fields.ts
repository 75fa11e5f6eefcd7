import { type FieldSet, fieldIdOf, fieldIds, hopByHopFields, type SpecialFieldName } from '../field-names.ts';
import type { Fields } from '../message.ts';
import { ruleBroken } from '../wire-error.ts';
import type { DecodedField } from './decoded-field.ts';

/** Names of the connection have no place in HTTP/2 (RFC 9113 8.2.2). */
const connectionFields: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/** What follows the pseudo-header fields of a block. */
export class Http2Fields implements Fields {
  readonly #fields: readonly DecodedField[];

  /** @throws WireError when a field is one of the connection, longer than `lineBytesMax`, or a pseudo-header field out of its place */
  constructor(fields: readonly DecodedField[], lineBytesMax: number) {
    for (const { name, value, id, isPseudo } of fields) {
      if (isPseudo) throw ruleBroken('pseudo_field', 'a pseudo-header field stands after a field, or in trailers');
      if (name.length + value.length + 2 > lineBytesMax) {
        throw ruleBroken('field_line_size', `a field line is longer than ${lineBytesMax} bytes`);
      }
      if (id === 0) continue;
      if (connectionFields.has(name) || (id === fieldIds.te && value.toLowerCase() !== 'trailers')) {
        throw ruleBroken('connection_field', 'a field of the connection has no place in HTTP/2');
      }
    }
    this.#fields = fields;
  }

  field(name: SpecialFieldName): string | undefined {
    const id = fieldIdOf(name);
    for (const field of this.#fields) if (field.id === id) return field.value;
    return undefined;
  }

  fieldCount(name: SpecialFieldName): number {
    const id = fieldIdOf(name);
    let count = 0;
    for (const field of this.#fields) if (field.id === id) count++;
    return count;
  }

  find(name: string): string | undefined {
    let found: string | undefined;
    for (const field of this.#fields) {
      if (field.name === name) found = found === undefined ? field.value : `${found}, ${field.value}`;
    }
    return found;
  }

  *entries(): IterableIterator<readonly [name: string, value: string]> {
    for (const { name, value } of this.#fields) yield [name, value];
  }

  linesExcept(drop: FieldSet): string {
    let lines = '';
    let cookies: string | undefined;
    for (const field of this.#fields) {
      const { id } = field;
      if (id !== 0) {
        if (drop.hasId[id] !== 0 || hopByHopFields.hasId[id] !== 0) continue;
        if (id === fieldIds.cookie) {
          // A cookie may come in pieces, which are one field for everybody else (RFC 9113 8.2.3).
          cookies = cookies === undefined ? field.value : `${cookies}; ${field.value}`;
          continue;
        }
      }
      if (drop.otherNames.size !== 0 && drop.otherNames.has(field.name)) continue;
      lines += field.line;
    }
    return cookies === undefined ? lines : `${lines}cookie: ${cookies}\r\n`;
  }
}
