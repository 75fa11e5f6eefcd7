import { type Clock, sleep } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { Random } from '#runtime/random.ts';
import type { ExportOutcome, OtlpCollector } from './otlp-collector.ts';
import { type Attributes, exportRequest, type FinishedSpan, spanJson } from './otlp-span.ts';

interface SpanExporterOptions {
  readonly collector: OtlpCollector;
  /** Who this process is: `service.name` and the like. */
  readonly resource: Attributes;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Both as OpenTelemetry's batch processor has them; a span is about a kilobyte. */
export const waitingSpansMax = 2048;
export const batchSpansMax = 512;
/** How long a span waits for others. */
const batchEveryMs = 1_000;
/** The first pause after a failure; it doubles up to the longest, and each is drawn from its upper half. */
const pauseMsMin = 1_000;
const pauseMsMax = 30_000;
/** What the last batches may take when the process stops. */
const flushMsMax = 3_000;

type DropReason = 'queue_full' | 'refused' | 'unsent';

/**
 * Brings spans to a collector, in batches, one at a time. Nobody waits for it: what a collector that is slow or gone does not take waits within a
 * bound, beyond which the oldest are dropped and counted.
 */
export class SpanExporter implements AsyncDisposable {
  readonly #options: SpanExporterOptions;
  readonly #stopping = new AbortController();
  readonly #cutOff = new AbortController();
  readonly #waiting: string[] = [];
  readonly #dropped: Record<DropReason, number> = { queue_full: 0, refused: 0, unsent: 0 };
  #exported = 0;
  #wake: () => void = () => {};
  /** The failure that was logged last; undefined while all is well. */
  #failure: string | undefined;
  readonly #running: Promise<void>;

  constructor(options: SpanExporterOptions) {
    this.#options = options;
    this.#observe(options.metrics);
    this.#running = this.#run();
  }

  /** Never waits, never throws. */
  add(span: FinishedSpan): void {
    if (this.#waiting.length >= waitingSpansMax)
      this.#drop('queue_full', this.#waiting.splice(0, batchSpansMax).length);
    this.#waiting.push(spanJson(span));
    if (this.#waiting.length === 1 || this.#waiting.length === batchSpansMax) this.#wake();
  }

  /** Sends what waits, each batch once, for at most `flushMsMax`. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { clock, collector } = this.#options;
    const reason = new Error('the exporter stops');
    const timer = clock.schedule(flushMsMax, () => this.#cutOff.abort(reason));
    this.#stopping.abort(reason);
    this.#wake();
    await this.#running;
    timer.cancel();
    await collector[Symbol.asyncDispose]();
  }

  async #run(): Promise<void> {
    for (;;) {
      await this.#batchIsDue();
      if (this.#waiting.length === 0) return;
      await this.#deliver(this.#waiting.splice(0, batchSpansMax));
    }
  }

  /** Resolves when a batch is full, or its first span has waited long enough, or the process stops: then, in the end, with nothing. */
  async #batchIsDue(): Promise<void> {
    const { clock } = this.#options;
    while (this.#waiting.length === 0 && !this.#stopping.signal.aborted) await this.#woken();
    if (this.#waiting.length >= batchSpansMax || this.#stopping.signal.aborted) return;
    const pause = clock.schedule(batchEveryMs, () => this.#wake());
    await this.#woken();
    pause.cancel();
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  async #deliver(batch: readonly string[]): Promise<void> {
    const { collector, resource } = this.#options;
    const body = exportRequest(resource, batch);
    for (let attempt = 0; ; attempt++) {
      const outcome = await collector.export(body, this.#cutOff.signal);
      if (outcome.tag !== 'unavailable') return this.#settle(outcome, batch.length);
      this.#tell(outcome.reason);
      if (this.#stopping.signal.aborted) return this.#drop('unsent', batch.length);
      await this.#pause(outcome.afterMs ?? this.#backoffMs(attempt));
    }
  }

  #settle(outcome: Exclude<ExportOutcome, { tag: 'unavailable' }>, count: number): void {
    const rejected = outcome.tag === 'refused' ? count : Math.min(outcome.rejected, count);
    this.#exported += count - rejected;
    this.#drop('refused', rejected);
    this.#tell(rejected === 0 ? undefined : outcome.reason);
  }

  #backoffMs(attempt: number): number {
    const ms = Math.min(pauseMsMax, pauseMsMin * 2 ** Math.min(attempt, 10));
    return ms * (0.5 + this.#options.random.fraction() / 2);
  }

  async #pause(ms: number): Promise<void> {
    await sleep(this.#options.clock, ms, this.#stopping.signal).catch(() => {});
  }

  #drop(reason: DropReason, count: number): void {
    this.#dropped[reason] += count;
  }

  /** Once for each change: a collector may be away for days. */
  #tell(failure: string | undefined): void {
    const { logger } = this.#options;
    if (failure === this.#failure) return;
    this.#failure = failure;
    if (failure === undefined) logger.info('spans are exported again');
    else logger.warn('spans cannot be exported', { reason: failure, waiting: this.#waiting.length, ...this.#dropped });
  }

  #observe(metrics: Metrics): void {
    metrics.family({
      name: 'cellmesh_spans_exported_total',
      help: 'Spans that the collector took.',
      type: 'counter',
      read: () => [{ labels: {}, value: this.#exported }],
    });
    metrics.family({
      name: 'cellmesh_spans_dropped_total',
      help: 'Spans that it did not get: too many waited, it refused them, or the process stopped first.',
      type: 'counter',
      read: () => Object.entries(this.#dropped).map(([reason, value]) => ({ labels: { reason }, value })),
    });
    metrics.observed('cellmesh_spans_waiting', 'Spans that wait for the collector.', () => this.#waiting.length);
  }
}
