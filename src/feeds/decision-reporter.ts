import type { ApiClient } from '#api/api-client.ts';
import { DecisionLog } from '#api/generated/cellmesh/policy/v1/decision_log_pb.ts';
import { type Clock, type Scheduled, sleep } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { reconnectMsMax } from './feed-client.ts';

interface DecisionReporterOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Half a minute of 300 decisions a second; they lie in the ring on disk too. */
const waitingRecordsMax = 10_000;
const batchRecordsMax = 500;
const batchEveryMs = 200;
/** A batch that nobody acknowledges: the stream is dead, whatever TCP says. */
const acknowledgeMsMax = 10_000;

/**
 * Brings decision records to whoever stores them. One batch is under way at a time and is sent again until it is acknowledged, so what was
 * taken is stored at least once; beyond the bound the oldest are dropped, and the receiver is told how many.
 */
export class DecisionReporter implements AsyncDisposable {
  readonly #options: DecisionReporterOptions;
  readonly #abort = new AbortController();
  #waiting: string[] = [];
  #dropped = 0;
  #droppedTold = 0;
  #sequence = 0n;
  #wake: () => void = () => {};
  readonly #running: Promise<void>;

  constructor(options: DecisionReporterOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** Records that never left this process. */
  get dropped(): number {
    return this.#dropped;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes one record as JSON. Never waits, never throws. */
  report(record: string): void {
    if (this.#waiting.length >= waitingRecordsMax) {
      this.#waiting.splice(0, batchRecordsMax);
      this.#dropped += batchRecordsMax;
    }
    this.#waiting.push(record);
    this.#wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error('the reporter stops'));
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, random, logger } = this.#options;
    while (!this.#abort.signal.aborted) {
      await this.#somethingWaits();
      if (this.#abort.signal.aborted) return;
      const reason = await this.#session();
      if (this.#abort.signal.aborted) return;
      logger.warn('decisions cannot be reported, they stay here', {
        reason,
        waiting: this.#waiting.length,
        dropped: this.#dropped,
      });
      await sleep(clock, random.fraction() * reconnectMsMax, this.#abort.signal).catch(() => {});
    }
  }

  #somethingWaits(): Promise<void> {
    if (this.#waiting.length > 0 || this.#abort.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** One stream, until it ends; resolves with why. */
  #session(): Promise<string> {
    const { client, clock } = this.#options;
    return new Promise((resolve) => {
      const stream = client.open(DecisionLog.method.report);
      let inFlight: { readonly sequence: bigint; readonly count: number; readonly dropped: number } | undefined;
      let timer: Scheduled | undefined;
      const sendBatch = () => {
        timer = undefined;
        if (inFlight !== undefined || this.#waiting.length === 0) return;
        const records = this.#waiting.slice(0, batchRecordsMax);
        inFlight = { sequence: ++this.#sequence, count: records.length, dropped: this.#dropped };
        stream.send({ sequence: inFlight.sequence, records, dropped: BigInt(this.#dropped - this.#droppedTold) });
        timer = clock.schedule(acknowledgeMsMax, () => stream.end(new Error('a batch was not acknowledged in time')));
      };
      // A batch grows for a moment: a record alone would cost a message each.
      this.#wake = () => {
        if (inFlight === undefined) timer ??= clock.schedule(batchEveryMs, sendBatch);
      };
      stream.onMessage(({ sequence }) => {
        if (inFlight?.sequence !== sequence) return;
        timer?.cancel();
        timer = undefined;
        // What was dropped while it was under way came off the front.
        const gone = Math.min(inFlight.count, this.#dropped - inFlight.dropped);
        this.#waiting.splice(0, inFlight.count - gone);
        this.#droppedTold = inFlight.dropped;
        inFlight = undefined;
        if (this.#waiting.length > 0) this.#wake();
      });
      const onAbort = () => stream.end();
      this.#abort.signal.addEventListener('abort', onAbort, { once: true });
      stream.onEnd((error) => {
        timer?.cancel();
        this.#wake = () => {};
        this.#abort.signal.removeEventListener('abort', onAbort);
        resolve(error === undefined ? 'the stream ended' : messageOf(error));
      });
      this.#wake();
    });
  }
}
