import type { Clock, Scheduled } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { CandidateCounts, CandidateTally } from './candidate-tally.ts';

interface CandidateReportsOptions {
  readonly tally: CandidateTally;
  /** Tells the control plane. */
  readonly report: (counts: CandidateCounts) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A candidate that denies too much is withdrawn within seconds: this is the longest part of them. */
const everyMs = 1_000;

/** Tells the control plane what candidates said, while that changes. Sums, not changes: what was lost on the way is in the next report. */
export class CandidateReports implements AsyncDisposable {
  readonly #options: CandidateReportsOptions;
  readonly #told = new Map<string, string>();
  #timer: Scheduled;
  #reporting: Promise<void> = Promise.resolve();
  #isFailing = false;
  #isClosed = false;

  constructor(options: CandidateReportsOptions) {
    this.#options = options;
    this.#timer = options.clock.schedule(everyMs, () => this.#report());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#timer.cancel();
    await this.#reporting;
  }

  #report(): void {
    this.#reporting = this.#reportAll().finally(() => {
      if (this.#isClosed) return;
      this.#timer = this.#options.clock.schedule(everyMs, () => this.#report());
    });
  }

  async #reportAll(): Promise<void> {
    const { tally, report, logger } = this.#options;
    for (const counts of tally.all()) {
      const text = JSON.stringify(counts);
      if (this.#told.get(counts.version) === text) continue;
      try {
        await report(counts);
        this.#told.set(counts.version, text);
        this.#isFailing = false;
      } catch (error) {
        if (!this.#isFailing) logger.warn('what the candidate said cannot be told yet', { reason: messageOf(error) });
        this.#isFailing = true;
        return;
      }
    }
  }
}
