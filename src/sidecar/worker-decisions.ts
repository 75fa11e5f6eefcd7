import type { DecisionKind, DecisionSink } from '#feeds/decision-sinks.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import type { DecisionBatch } from './thread-calls.ts';

interface WorkerDecisionsOptions {
  readonly clock: Clock;
  /** Resolves when the first thread has taken them. */
  readonly send: (batch: DecisionBatch) => Promise<void>;
}

/** A message for each record would cost more than the record; the disk waits as long. */
const batchMs = 10;
const batchLinesMax = 256;
/** What the first thread may be behind: some megabytes. Beyond it records are dropped and counted, as they are for a slow disk. */
export const batchesMax = 32;

/** Brings the records of one thread to the first, which has the disk and the control plane. */
export class WorkerDecisions implements DecisionSink {
  readonly reported = { failure: 0, sighting: 0, permit: 0 };
  readonly thinned = 0;
  readonly unlogged = 0;
  readonly #options: WorkerDecisionsOptions;
  readonly #sending = new Set<Promise<void>>();
  #lines: string[] = [];
  #kinds: DecisionKind[] = [];
  #dropped = 0;
  #scheduled: Scheduled | undefined;

  constructor(options: WorkerDecisionsOptions) {
    this.#options = options;
  }

  get dropped(): number {
    return this.#dropped;
  }

  add(line: string, kind: DecisionKind): void {
    if (this.#sending.size >= batchesMax) {
      this.#dropped++;
      return;
    }
    this.#lines.push(line);
    this.#kinds.push(kind);
    if (this.#lines.length >= batchLinesMax) this.#send();
    else this.#scheduled ??= this.#options.clock.schedule(batchMs, () => this.#send());
  }

  /** Resolves when the first thread has everything. */
  async flush(): Promise<void> {
    this.#send();
    await Promise.all(this.#sending);
  }

  #send(): void {
    this.#scheduled?.cancel();
    this.#scheduled = undefined;
    if (this.#lines.length === 0) return;
    const batch = { lines: this.#lines, kinds: this.#kinds };
    this.#lines = [];
    this.#kinds = [];
    const sending = this.#options
      .send(batch)
      .catch(() => {
        this.#dropped += batch.lines.length;
      })
      .then(() => void this.#sending.delete(sending));
    this.#sending.add(sending);
  }
}
