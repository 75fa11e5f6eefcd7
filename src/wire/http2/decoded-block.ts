import type { WireError } from '../wire-error.ts';
import type { DecodedField } from './decoded-field.ts';
import type { Http2Fields } from './http2-fields.ts';

/** What one header block holds, up to the limits. */
export class DecodedBlock {
  readonly fields: readonly DecodedField[];
  /** The first rule or limit that it breaks: its message is refused, and the connection goes on. */
  readonly problem: WireError | undefined;
  /** What was read from it: a block that comes again is the same object. */
  message: Http2Fields | undefined;

  constructor(fields: readonly DecodedField[], problem: WireError | undefined) {
    this.fields = fields;
    this.problem = problem;
  }
}

/** Longer blocks hardly consist of entries only. */
const bytesMax = 32;
/** A power of two. */
const slots = 16;

interface KnownBlock {
  readonly bytes: readonly number[];
  readonly block: DecodedBlock;
}

/**
 * Blocks of entries of the table and nothing else, by their bytes: most trailers, and the heads of calls that differ in nothing. They mean
 * the same for as long as the table does not change.
 */
export class KnownBlocks {
  /** Not before there is one: most connections at a time are idle, and many never know any. */
  #known: (KnownBlock | undefined)[] | undefined;
  /** Hashes of those that came last: a block is kept when it comes for the second time. */
  #seen: Int32Array | undefined;
  #isEmpty = true;

  find(bytes: Buffer, start: number, end: number): DecodedBlock | undefined {
    const length = end - start;
    if (this.#isEmpty || length > bytesMax) return undefined;
    const known = this.#known?.[slotOf(hashOf(bytes, start, end))];
    if (known === undefined || known.bytes.length !== length) return undefined;
    for (let i = 0; i < length; i++) if (known.bytes[i] !== bytes[start + i]) return undefined;
    return known.block;
  }

  /** `block` is sound, and of entries only. Whoever has a slot keeps it until the table changes: two that take turns would only push each other out. */
  note(bytes: Buffer, start: number, end: number, block: DecodedBlock): void {
    if (end - start > bytesMax) return;
    this.#known ??= new Array<KnownBlock | undefined>(slots).fill(undefined);
    this.#seen ??= new Int32Array(slots);
    this.#isEmpty = false;
    const hash = hashOf(bytes, start, end);
    const slot = slotOf(hash);
    if (this.#known[slot] !== undefined) return;
    if (this.#seen[slot] === hash) this.#known[slot] = { bytes: Array.from(bytes.subarray(start, end)), block };
    this.#seen[slot] = hash;
  }

  /** The table changed. */
  forget(): void {
    if (this.#isEmpty) return;
    this.#known?.fill(undefined);
    this.#seen?.fill(0);
    this.#isEmpty = true;
  }
}

function hashOf(bytes: Buffer, start: number, end: number): number {
  let hash = end - start;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x0100_0193);
  return hash;
}

function slotOf(hash: number): number {
  return (hash ^ (hash >>> 15)) & (slots - 1);
}
