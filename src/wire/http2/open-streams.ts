import type { Http2Stream } from './stream.ts';

/**
 * The open streams by their number. A `Map` that much is added to and deleted from leaves its old tables behind, each pointing to the next:
 * once one is old enough for a full collection only, everything that later tables held survives with it. This one stays where it is.
 */
export class OpenStreams {
  /** Open addressing with linear probing: numbers grow by two, so that nearly every stream lies where it is looked for first. */
  #slots: (Http2Stream | undefined)[] = emptySlots(16);
  #size = 0;
  /** How many do not lie where they are looked for first: while there are none, nobody has to move when one goes. */
  #displaced = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): Http2Stream | undefined {
    return this.#slots[this.#find(id)];
  }

  add(stream: Http2Stream): void {
    if ((this.#size + 1) * 2 > this.#slots.length) this.#grow();
    if (this.get(stream.id) === undefined) this.#size++;
    this.#put(stream);
  }

  delete(id: number): void {
    const slots = this.#slots;
    let hole = this.#find(id);
    if (slots[hole] === undefined) return;
    this.#size--;
    if (hole !== this.#home(id)) this.#displaced--;
    if (this.#displaced === 0) {
      slots[hole] = undefined;
      return;
    }
    const mask = slots.length - 1;
    // Whoever had to go further because of it comes nearer: a search ends at the first gap.
    for (let at = (hole + 1) & mask; slots[at] !== undefined; at = (at + 1) & mask) {
      const home = this.#home(slots[at]!.id);
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      slots[hole] = slots[at];
      if (hole === home) this.#displaced--;
      hole = at;
    }
    slots[hole] = undefined;
  }

  /** In the order of their numbers; safe against streams that close meanwhile. */
  all(): readonly Http2Stream[] {
    return this.#slots.filter((stream) => stream !== undefined).sort((a, b) => a.id - b.id);
  }

  #home(id: number): number {
    return (id >>> 1) & (this.#slots.length - 1);
  }

  /** Where the stream is, or the gap where it would be. */
  #find(id: number): number {
    const slots = this.#slots;
    let at = this.#home(id);
    for (;;) {
      const stream = slots[at];
      if (stream === undefined || stream.id === id) return at;
      at = (at + 1) & (slots.length - 1);
    }
  }

  #put(stream: Http2Stream): void {
    const at = this.#find(stream.id);
    if (this.#slots[at] === undefined && at !== this.#home(stream.id)) this.#displaced++;
    this.#slots[at] = stream;
  }

  #grow(): void {
    const streams = this.#slots;
    this.#slots = emptySlots(streams.length * 2);
    this.#displaced = 0;
    for (const stream of streams) if (stream !== undefined) this.#put(stream);
  }
}

function emptySlots(count: number): undefined[] {
  return new Array<undefined>(count).fill(undefined);
}
