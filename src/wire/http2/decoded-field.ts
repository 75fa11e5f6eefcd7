import { fieldIdOrClassOf, fieldIds, fieldSet } from '../field-names.ts';

/** RFC 7541 4.1: what an entry counts for beside its bytes. */
export const entryOverheadBytes = 32;

/** Names of the connection have no place in HTTP/2 (RFC 9113 8.2.2). */
const connectionFields = fieldSet('connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade');

/** One field of a header block. Entries of a table are shared by all heads that refer to them, so what is computed once stays. */
export class DecodedField {
  readonly decodedName: DecodedName;
  readonly name: string;
  readonly value: string;
  /** As in `fieldIds`; 0 for names that nothing of the mesh reads, and for pseudo-header fields. */
  readonly id: number;
  readonly isPseudo: boolean;
  /** Name and value keep the rules of RFC 9113 8.2.1. One that does not spoils every head that has it. */
  readonly isValid: boolean;
  /** It has no place in HTTP/2. */
  readonly isOfConnection: boolean;
  /** As a table counts it. */
  readonly size: number;
  /** Whether the value is what its pseudo-header field asks for; undefined before somebody looked. */
  isSound: boolean | undefined;
  #line: string | undefined;

  constructor(name: DecodedName, value: string, isValidValue: boolean) {
    const { id } = name;
    this.decodedName = name;
    this.name = name.text;
    this.value = value;
    this.id = id;
    this.isPseudo = name.isPseudo;
    this.isValid = name.isValid && isValidValue;
    this.isOfConnection =
      connectionFields.hasId[id] !== 0 || (id === fieldIds.te && value.toLowerCase() !== 'trailers');
    this.size = name.text.length + value.length + entryOverheadBytes;
  }

  /** As HTTP/1.1 writes it, with its CRLF. */
  get line(): string {
    this.#line ??= `${this.name}: ${this.value}\r\n`;
    return this.#line;
  }
}

/** A field's name, as the decoder keeps it. */
export interface DecodedName {
  readonly text: string;
  readonly id: number;
  readonly isPseudo: boolean;
  readonly isValid: boolean;
}

export function decodedName(text: string, isValid: boolean): DecodedName {
  return { text, id: isValid ? fieldIdOrClassOf(text) : 0, isPseudo: text.charCodeAt(0) === 0x3a, isValid };
}
