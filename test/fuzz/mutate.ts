/** A small generator of hostile bytes: known messages with bytes flipped, cut, doubled and spliced. The same seed gives the same bytes. */
export class Mutator {
  readonly #seeds: readonly Buffer[];
  #state: number;

  constructor(seeds: readonly string[], seed: number) {
    this.#seeds = seeds.map((text) => Buffer.from(text, 'latin1'));
    this.#state = seed | 1;
  }

  next(): Buffer {
    let bytes: Buffer = Buffer.from(this.#pick(this.#seeds));
    for (let changes = 1 + this.#below(4); changes > 0; changes--) bytes = this.#change(bytes);
    return bytes;
  }

  #change(bytes: Buffer): Buffer {
    const at = this.#below(bytes.length + 1);
    const to = Math.min(bytes.length, at + this.#below(16));
    switch (this.#below(5)) {
      case 0:
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
      case 1:
        return Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)]);
      case 2:
        return Buffer.concat([bytes.subarray(0, at), this.#pick(interesting), bytes.subarray(at)]);
      case 3: {
        const other = this.#pick(this.#seeds);
        return Buffer.concat([bytes.subarray(0, at), other.subarray(this.#below(other.length))]);
      }
      default:
        if (bytes.length > 0) bytes[at % bytes.length] = this.#below(256);
        return bytes;
    }
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#below(choices.length)]!;
  }

  /** xorshift32 */
  #below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % Math.max(1, limit);
  }
}

/** What turns one message into another for a reader that is not careful. */
export const interestingTexts: readonly string[] = [
  '\r\n',
  '\n',
  '\r',
  '\0',
  ' ',
  '\t',
  ':',
  ';',
  ',',
  '\xff',
  '\x7f',
  '0',
  'f',
  '\r\n\r\n',
  'chunked',
];
const interesting = interestingTexts.map((text) => Buffer.from(text, 'latin1'));
