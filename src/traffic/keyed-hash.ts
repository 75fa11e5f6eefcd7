/**
 * HalfSipHash-1-3 with 64 bits of result (Aumasson, Bernstein: "SipHash: a fast short-input PRF", and the authors' `halfsiphash.c`; with so few
 * rounds it is for tables, not for signatures), over the UTF-16 code units of a text, two a word. The key is secret and new for each process:
 * nobody can choose names that fall together. Allocates nothing; the result stays in `low` and `high` until the next call.
 */
export class KeyedHash {
  low = 0;
  high = 0;
  readonly #key0: number;
  readonly #key1: number;
  #v0 = 0;
  #v1 = 0;
  #v2 = 0;
  #v3 = 0;

  constructor(key0: number, key1: number) {
    this.#key0 = key0;
    this.#key1 = key1;
  }

  /** `salt0`, `salt1`: two more words in front of the text, so that equal texts of different kinds have different hashes. */
  hash(text: string, salt0 = 0, salt1 = 0): void {
    this.#v0 = this.#key0;
    this.#v1 = this.#key1 ^ 0xee;
    this.#v2 = 0x6c796765 ^ this.#key0;
    this.#v3 = 0x74656462 ^ this.#key1;
    this.#word(salt0);
    this.#word(salt1);
    const { length } = text;
    let at = 0;
    for (; at + 1 < length; at += 2) this.#word(text.charCodeAt(at) | (text.charCodeAt(at + 1) << 16));
    // The last word holds what is left over, and the length: no text is the beginning of another.
    this.#word((at < length ? text.charCodeAt(at) : 0) | (length << 16));
    this.#v2 ^= 0xee;
    this.#rounds(3);
    this.low = this.#v1 ^ this.#v3;
    this.#v1 ^= 0xdd;
    this.#rounds(3);
    this.high = this.#v1 ^ this.#v3;
  }

  #word(word: number): void {
    this.#v3 ^= word;
    this.#rounds(1);
    this.#v0 ^= word;
  }

  #rounds(count: number): void {
    let v0 = this.#v0;
    let v1 = this.#v1;
    let v2 = this.#v2;
    let v3 = this.#v3;
    for (let round = 0; round < count; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    this.#v0 = v0;
    this.#v1 = v1;
    this.#v2 = v2;
    this.#v3 = v3;
  }
}
