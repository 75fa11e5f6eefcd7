const newline = 0x0a;
/** A character of UTF-16 has no more bytes of UTF-8. */
const bytesPerCharacterMax = 3;
/** Encoding has a price for each call, and strings that wait one for each collection of garbage: some dozens of lines are between. */
const encodedAt = 32 * 1024;
const bytesAtFirst = 64 * 1024;
/** What one burst needed is not kept for ever. */
const bytesKeptMax = 1024 * 1024;

/** Lines as UTF-8 in memory that is used again. */
export class LineBuffer {
  #text = '';
  #bytes = Buffer.alloc(0);
  #encoded = 0;
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
    return this.#bytes.subarray(0, this.#encoded);
  }

  clear(): void {
    if (this.#bytes.length > bytesKeptMax) this.#bytes = Buffer.alloc(0);
    this.#text = '';
    this.#encoded = this.#lines = this.#characters = 0;
  }

  #encode(): void {
    const text = this.#text;
    this.#text = '';
    const needed = this.#encoded + text.length * bytesPerCharacterMax;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(bytesAtFirst, 2 * needed));
      this.#bytes.copy(grown, 0, 0, this.#encoded);
      this.#bytes = grown;
    }
    this.#encoded += this.#bytes.write(text, this.#encoded);
  }
}

/** Where the first line ends that reaches `at`: lines are whole in a file, and the last one may be longer than there is room. */
export function lineEnd(bytes: Buffer, at: number): number {
  return at >= bytes.length ? bytes.length : bytes.indexOf(newline, at - 1) + 1;
}
