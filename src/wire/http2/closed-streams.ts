/** A power of two. */
const remembered = 128;

/** The streams that ended last: frames that were on their way when we reset one are no fault of the peer's (RFC 9113 5.1). */
export class ClosedStreams {
  /** A ring; no stream has the number 0. */
  readonly #ids = new Uint32Array(remembered);
  readonly #wasReset = new Uint8Array(remembered);
  #next = 0;

  add(streamId: number, wasReset: boolean): void {
    this.#ids[this.#next] = streamId;
    this.#wasReset[this.#next] = wasReset ? 1 : 0;
    this.#next = (this.#next + 1) & (remembered - 1);
  }

  wasReset(streamId: number): boolean {
    return this.#wasReset[this.#ids.lastIndexOf(streamId)] === 1;
  }

  has(streamId: number): boolean {
    return this.#ids.includes(streamId);
  }
}
