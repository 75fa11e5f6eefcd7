import { ConnectionFault, errorCode } from './protocol.ts';

const windowMs = 1_000;

/**
 * Counts what costs the sender little and the receiver much: resets, pings, settings, empty frames, window updates of a few bytes, malformed heads
 * (CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316). One budget for all of them.
 */
export class FloodBudget {
  readonly #max: number;
  #since = 0;
  #count = 0;

  /** `max`: in a second. */
  constructor(max: number) {
    this.#max = max;
  }

  /** @throws ConnectionFault ENHANCE_YOUR_CALM */
  spend(now: number): void {
    if (now - this.#since >= windowMs) {
      this.#since = now;
      this.#count = 0;
    }
    if (++this.#count > this.#max) {
      throw new ConnectionFault(errorCode.enhanceYourCalm, 'too many frames that only cost');
    }
  }
}
