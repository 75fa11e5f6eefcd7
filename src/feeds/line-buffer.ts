import { EncodedText } from './encoded-text.ts';

const newline = 0x0a;
/** Encoding has a price for each call, and strings that wait one for each collection of garbage: some dozens of lines are between. */
const encodedAt = 32 * 1024;

/** Lines as UTF-8 in memory that is used again. */
export class LineBuffer {
  /** Not encoded yet. */
  #text = '';
  readonly #encoded = new EncodedText();
  #lines = 0;
  #characters = 0;

  get lines(): number {
    return this.#lines;
  }

  /** Newlines included. */
  get characters(): number {
    return this.#characters;
  }

  /** Takes one line without its newline. */
  append(line: string): void {
    this.#text += `${line}\n`;
    this.#lines++;
    this.#characters += line.length + 1;
    if (this.#text.length >= encodedAt) this.#encode();
  }

  /** Of all lines; good until the next change. */
  get bytes(): Buffer {
    this.#encode();
    return this.#encoded.bytes;
  }

  clear(): void {
    this.#text = '';
    this.#encoded.truncate(0);
    this.#lines = this.#characters = 0;
  }

  #encode(): void {
    this.#encoded.append(this.#text);
    this.#text = '';
  }
}

/** Where the first line ends that reaches `at`: lines are whole in a file, and the last one may be longer than there is room. */
export function lineEnd(bytes: Buffer, at: number): number {
  return at >= bytes.length ? bytes.length : bytes.indexOf(newline, at - 1) + 1;
}
