import type { AccessLog } from '#feeds/access-log.ts';
import type { DecisionRing } from '#feeds/decision-ring.ts';
import { DecisionIds } from '#policy/decision-id.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { failureReasons } from '#policy/failure-reasons.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Counter, Metrics } from '#runtime/metrics.ts';
import type { Random } from '#runtime/random.ts';
import type { ExchangeOutcome } from '#wire/exchange.ts';
import type { GeneratedResponse } from '#wire/respond.ts';
import type { WireError } from '#wire/wire-error.ts';
import { denialResponse } from './edge-answer.ts';

/** A record while its request is under way. */
export type OpenRecord = { -readonly [K in keyof DecisionRecord]: DecisionRecord[K] };

interface EdgeDecisionsOptions {
  readonly instance: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly ring: DecisionRing;
  readonly accessLog: AccessLog | undefined;
  readonly metrics: Metrics;
  readonly report: (line: string) => void;
}

/** Every request at the edge has one record, whatever becomes of it. */
export class EdgeDecisions {
  readonly #options: EdgeDecisionsOptions;
  readonly #ids: DecisionIds;
  readonly #requests: Counter<'reason' | 'code'>;

  constructor(options: EdgeDecisionsOptions) {
    this.#options = options;
    this.#ids = new DecisionIds(options.instance, options.clock, options.random);
    this.#requests = options.metrics.counter('cellmesh_edge_requests_total', "Customers' requests.", [
      'reason',
      'code',
    ]);
  }

  /** A denial until something better is decided. */
  begin(): OpenRecord {
    const { instance, clock } = this.#options;
    return {
      schema: 1,
      id: this.#ids.next(),
      time: new Date(clock.now()).toISOString(),
      direction: 'edge',
      instance,
      outcome: 'deny',
      status: 0,
    };
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
    const { ring, accessLog, report } = this.#options;
    record.status = status;
    record.durationMs = Math.round(durationMs * 1000) / 1000;
    const line = JSON.stringify(record);
    ring.append(line);
    accessLog?.append(line);
    report(line);
    this.#requests.inc({ reason: record.reason ?? 'allowed', code: String(status) });
  }
}
