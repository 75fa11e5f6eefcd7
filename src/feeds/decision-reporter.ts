import type { ApiClient } from '#api/api-client.ts';
import { DecisionLog } from '#api/generated/cellmesh/policy/v1/decision_log_pb.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { DecisionCatchUp } from './decision-catch-up.ts';
import { DecisionQueue } from './decision-queue.ts';
import type { DecisionRing, RingPosition } from './decision-ring.ts';
import type { DecisionKind } from './decision-sinks.ts';
import { reconnectMsMax } from './feed-client.ts';

interface DecisionReporterOptions {
  readonly client: Pick<ApiClient, 'open'>;
  /** Where every record lies before it is reported. */
  readonly ring: DecisionRing;
  /** Whether a line of the ring is a denial or a failure. */
  readonly isFailure: (line: string) => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export const batchRecordsMax = 500;
/** A message of gRPC costs 2 to 3 ms of processor time here, however many records are in it. */
const batchEveryMs = 1_000;
/** A batch that nobody acknowledges: the stream is dead, whatever TCP says. */
const acknowledgeMsMax = 10_000;

interface BatchStream {
  send(batch: { sequence: bigint; records: string[]; dropped: bigint }): boolean;
}

interface Batch {
  readonly sequence: bigint;
  readonly records: readonly string[];
  readonly dropped: number;
  /** Everything before it in the ring is stored once this batch is. */
  readonly upTo: RingPosition | undefined;
}

/**
 * Brings decision records to whoever stores them. One batch is under way at a time and is sent again until it is acknowledged, so what was
 * taken is stored at least once. What memory has no room for is read again from the ring if it is a denial or a failure, in turns with
 * what is new; permits are dropped, and the receiver is told how many.
 */
export class DecisionReporter implements AsyncDisposable {
  readonly #options: DecisionReporterOptions;
  readonly #abort = new AbortController();
  readonly #catchUp: DecisionCatchUp;
  readonly #queue = new DecisionQueue();
  #droppedTold = 0;
  #sequence = 0n;
  /** Survives a lost stream. */
  #inFlight: Batch | undefined;
  #isTurnOfOld = false;
  #wake: () => void = () => {};
  readonly #running: Promise<void>;

  constructor(options: DecisionReporterOptions) {
    this.#options = options;
    this.#catchUp = new DecisionCatchUp({ ...options, isWanted: options.isFailure });
    this.#running = this.#run();
  }

  /** Permits that never left this process. */
  get dropped(): number {
    return this.#queue.dropped;
  }

  /** In memory. */
  get waiting(): number {
    return this.#queue.length + (this.#inFlight?.records.length ?? 0);
  }

  /** Denials and failures that were read again from disk. */
  get recovered(): number {
    return this.#catchUp.recovered;
  }

  /** Whether denials wait on disk. */
  get isBehind(): boolean {
    return this.#catchUp.isBehind;
  }

  /** Takes one record as JSON, which the ring has already. Never waits, never throws. */
  report(record: string, kind: DecisionKind): void {
    if (this.#queue.add(record, kind)) this.#catchUp.lost();
    this.#wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error('the reporter stops'));
    this.#wake();
    await this.#running;
    await this.#catchUp[Symbol.asyncDispose]();
  }

  async #run(): Promise<void> {
    const { clock, random, logger } = this.#options;
    const { signal } = this.#abort;
    while (!signal.aborted) {
      await this.#until(() => signal.aborted || this.#inFlight !== undefined || this.#hasMore());
      if (signal.aborted) return;
      const reason = await this.#session();
      if (signal.aborted) return;
      const { waiting, dropped, isBehind } = this;
      logger.warn('decisions cannot be reported, they stay here', { reason, waiting, dropped, isBehind });
      await sleep(clock, random.fraction() * reconnectMsMax, signal).catch(() => {});
    }
  }

  #hasMore(): boolean {
    return this.#queue.length > 0 || this.#catchUp.isBehind;
  }

  /** For one waiter: whatever may change the condition calls `#wake`. */
  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** One stream, until it ends; resolves with why. */
  async #session(): Promise<string> {
    const { client, clock } = this.#options;
    const stream = client.open(DecisionLog.method.report);
    const over = new AbortController();
    let reason = '';
    let stored = 0n;
    const onAbort = () => stream.end();
    this.#abort.signal.addEventListener('abort', onAbort, { once: true });
    stream.onMessage(({ sequence }) => {
      stored = sequence;
      this.#wake();
    });
    stream.onEnd((error) => {
      reason = error === undefined ? 'the stream ended' : messageOf(error);
      over.abort();
      this.#wake();
    });
    while (await this.#hasBatch(over.signal)) {
      const sequence = this.#send(stream);
      const tooLate = () => stream.end(new Error('a batch was not acknowledged in time'));
      const timer = clock.schedule(acknowledgeMsMax, tooLate);
      await this.#until(() => over.signal.aborted || stored === sequence);
      timer.cancel();
      if (stored === sequence) this.#acknowledged();
    }
    this.#abort.signal.removeEventListener('abort', onAbort);
    return reason;
  }

  /**
   * Not by whoever waits for the acknowledgement: an async function that waits keeps alive what any variable of it last had, here a batch until the
   * next one comes, which is so long that its records would become old objects.
   */
  #send(stream: BatchStream): bigint {
    const { sequence, records, dropped } = this.#inFlight!;
    stream.send({ sequence, records: [...records], dropped: BigInt(dropped - this.#droppedTold) });
    return sequence;
  }

  /** Resolves when there is one in flight; with false when the stream is over. */
  async #hasBatch(over: AbortSignal): Promise<boolean> {
    while (!over.aborted) {
      if (this.#inFlight !== undefined) return true;
      await this.#until(() => over.aborted || this.#hasMore());
      // A batch grows for a moment: a record alone would cost a message each.
      if (this.#queue.length < batchRecordsMax && !this.#catchUp.isBehind)
        await sleep(this.#options.clock, batchEveryMs, over).catch(() => {});
      if (over.aborted) break;
      this.#isTurnOfOld = !this.#isTurnOfOld;
      const isOld = this.#catchUp.isBehind && (this.#isTurnOfOld || this.#queue.length === 0);
      const records = isOld ? await this.#catchUp.next(batchRecordsMax) : this.#queue.take(batchRecordsMax);
      if (records.length === 0) continue;
      const upTo = isOld || this.#queue.length > 0 ? undefined : this.#catchUp.position;
      this.#inFlight = { sequence: ++this.#sequence, records, dropped: this.dropped, upTo };
    }
    return false;
  }

  #acknowledged(): void {
    const { dropped, upTo } = this.#inFlight!;
    this.#inFlight = undefined;
    this.#droppedTold = dropped;
    if (upTo !== undefined) this.#catchUp.advance(upTo);
  }
}
