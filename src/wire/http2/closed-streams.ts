const rememberedMax = 128;

/** The streams that ended last: frames that were on their way when we reset one are no fault of the peer's (RFC 9113 5.1). */
export class ClosedStreams {
  /** Whether we reset it. Maps keep the order of insertion, so the first key is the oldest. */
  readonly #wasReset = new Map<number, boolean>();

  add(streamId: number, wasReset: boolean): void {
    this.#wasReset.set(streamId, wasReset);
    if (this.#wasReset.size > rememberedMax) this.#wasReset.delete(this.#wasReset.keys().next().value!);
  }

  wasReset(streamId: number): boolean {
    return this.#wasReset.get(streamId) === true;
  }

  has(streamId: number): boolean {
    return this.#wasReset.has(streamId);
  }
}
