/** A character of UTF-16 has no more bytes of UTF-8. */
const bytesPerCharacterMax = 3;
const bytesAtFirst = 64 * 1024;
/** What one burst needed is not kept for ever. */
const bytesKeptMax = 1024 * 1024;

/** Text as UTF-8 in memory that grows and is used again: strings that wait would become old objects of the heap, which only full collections take. */
export class EncodedText {
  #bytes = Buffer.alloc(0);
  #length = 0;

  /** In bytes. */
  get length(): number {
    return this.#length;
  }

  /** Good until the next change. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  append(text: string): void {
    const needed = this.#length + text.length * bytesPerCharacterMax;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(bytesAtFirst, 2 * needed));
      this.#bytes.copy(grown, 0, 0, this.#length);
      this.#bytes = grown;
    }
    this.#length += this.#bytes.write(text, this.#length);
  }

  /** What was appended between two lengths. */
  text(start: number, end: number): string {
    return this.#bytes.toString('utf8', start, end);
  }

  /** Copies what lies between `start` and `end` to `to`, which is before it. */
  move(start: number, end: number, to: number): void {
    if (start !== to) this.#bytes.copyWithin(to, start, end);
  }

  truncate(length: number): void {
    this.#length = length;
    if (length === 0 && this.#bytes.length > bytesKeptMax) this.#bytes = Buffer.alloc(0);
  }
}
