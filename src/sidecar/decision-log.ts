import type { DecisionSink } from '#feeds/decision-sinks.ts';
import { DecisionJson } from '#policy/decision-json.ts';
import { DecisionStamps } from '#policy/decision-stamps.ts';
import { EdgeSightings } from '#policy/edge-sightings.ts';
import { failureReasons } from '#policy/failure-reasons.ts';
import { OpenRecord } from '#policy/open-record.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';
import type { GeneratedResponse } from '#wire/respond.ts';
import type { WireError } from '#wire/wire-error.ts';
import { denialResponse } from './denial-response.ts';
import type { Direction, RequestMetrics } from './request-metrics.ts';
import type { RequestSpan, RequestSpans, SpanOutcome } from './request-span.ts';

export type { OpenRecord };

interface DecisionLogOptions {
  /** Begins every id: which sidecar to ask. */
  readonly instance: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly sinks: DecisionSink;
  readonly metrics: RequestMetrics;
  readonly spans?: RequestSpans | undefined;
}

/** Every request has one record: made at its head, complete at its end, and then given to all who want to know. */
export class DecisionLog {
  readonly #options: DecisionLogOptions;
  readonly #stamps: DecisionStamps;
  readonly #json = new DecisionJson();
  readonly edges = new EdgeSightings();

  constructor(options: DecisionLogOptions) {
    this.#options = options;
    this.#stamps = new DecisionStamps(options.instance, options.clock, options.random);
  }

  /** `nowMs`: of whoever has asked the clock already. */
  begin(direction: Direction, nowMs?: number): OpenRecord {
    return new OpenRecord(this.#stamps.next(nowMs), direction, this.#options.instance);
  }

  /** A request whose head could not be read; returns the answer. */
  refused(record: OpenRecord, error: WireError): GeneratedResponse {
    const reason = failureReasons[error.code];
    record.reason = reason;
    record.failed = { condition: 'call', expected: 'clean HTTP within the limits', actual: error.message };
    this.end(record, { status: error.status, durationMs: 0, error });
    return denialResponse({ reason, decisionId: record.id, status: error.status });
  }

  /** `span`: where the request is sampled. */
  end(record: OpenRecord, outcome: SpanOutcome, span?: RequestSpan): void {
    const { sinks, metrics, spans } = this.#options;
    const { status, durationMs } = outcome;
    record.status = status;
    record.durationMs = Math.round(durationMs * 1000) / 1000;
    sinks.add(this.#json.of(record), this.edges.kindOf(record));
    metrics.count(record, durationMs);
    if (span !== undefined) spans?.end(span, record, outcome);
  }
}
