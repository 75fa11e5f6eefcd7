import type { DecisionSinks } from '#feeds/decision-sinks.ts';
import { observeDecisions } from '#feeds/observe-decisions.ts';
import { DecisionJson } from '#policy/decision-json.ts';
import { DecisionStamps } from '#policy/decision-stamps.ts';
import { EdgeSightings } from '#policy/edge-sightings.ts';
import { failureReasons } from '#policy/failure-reasons.ts';
import { OpenRecord } from '#policy/open-record.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Counter, Metrics } from '#runtime/metrics.ts';
import type { Random } from '#runtime/random.ts';
import type { ExchangeOutcome } from '#wire/exchange.ts';
import type { GeneratedResponse } from '#wire/respond.ts';
import type { WireError } from '#wire/wire-error.ts';
import { denialResponse } from './edge-answer.ts';

interface EdgeDecisionsOptions {
  readonly instance: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly sinks: DecisionSinks;
  readonly metrics: Metrics;
}

/** Every request at the edge has one record, whatever becomes of it. */
export class EdgeDecisions {
  readonly #options: EdgeDecisionsOptions;
  readonly #stamps: DecisionStamps;
  readonly #json = new DecisionJson();
  readonly #edges = new EdgeSightings();
  readonly #requests: Counter<'reason' | 'code'>;

  constructor(options: EdgeDecisionsOptions) {
    this.#options = options;
    this.#stamps = new DecisionStamps(options.instance, options.clock, options.random);
    observeDecisions(options.metrics, options.sinks, this.#edges);
    this.#requests = options.metrics.counter('cellmesh_edge_requests_total', "Customers' requests.", [
      'reason',
      'code',
    ]);
  }

  begin(): OpenRecord {
    return new OpenRecord(this.#stamps.next(), 'edge', this.#options.instance);
  }

  /** A request whose head could not be read; returns the answer. */
  refused(error: WireError): GeneratedResponse {
    const record = this.begin();
    const reason = failureReasons[error.code];
    record.reason = reason;
    record.failed = { condition: 'call', expected: 'clean HTTP within the limits', actual: error.message };
    this.end(record, { status: error.status, durationMs: 0 });
    return denialResponse({ reason, decisionId: record.id, status: error.status });
  }

  end(record: OpenRecord, { status, durationMs }: Pick<ExchangeOutcome, 'status' | 'durationMs'>): void {
    const { sinks } = this.#options;
    record.status = status;
    record.durationMs = Math.round(durationMs * 1000) / 1000;
    sinks.add(this.#json.of(record), this.#edges.kindOf(record));
    this.#requests.inc({ reason: record.reason ?? 'allowed', code: String(status) });
  }
}
