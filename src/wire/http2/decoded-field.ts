import { fieldIdOrClassOf } from '../field-names.ts';

/** RFC 7541 4.1: what an entry counts for beside its bytes. */
export const entryOverheadBytes = 32;

/** One field of a header block. Entries of a table are shared by all heads that refer to them, so what is computed once stays. */
export class DecodedField {
  readonly name: string;
  readonly value: string;
  /** As in `fieldIds`; 0 for names that nothing of the mesh reads, and for pseudo-header fields. */
  readonly id: number;
  readonly isPseudo: boolean;
  /** Name and value keep the rules of RFC 9113 8.2.1. One that does not spoils every head that has it. */
  readonly isValid: boolean;
  #line: string | undefined;

  constructor(name: string, value: string, id: number, isValid: boolean) {
    this.name = name;
    this.value = value;
    this.id = id;
    this.isPseudo = name.charCodeAt(0) === 0x3a;
    this.isValid = isValid;
  }

  get size(): number {
    return this.name.length + this.value.length + entryOverheadBytes;
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
  readonly isValid: boolean;
}

export function decodedName(text: string, isValid: boolean): DecodedName {
  return { text, id: isValid ? fieldIdOrClassOf(text) : 0, isValid };
}
