import { shortName } from '#policy/decision-line.ts';
import type { DecisionRecord } from '#policy/decision-record.ts';
import { ExponentialHistogram } from '#runtime/exponential-histogram.ts';
import type { Metrics, Sample } from '#runtime/metrics.ts';

export type Direction = 'inbound' | 'outbound';

/** What came of the requests between two services on one route. */
interface Traffic {
  readonly labels: Readonly<Record<'direction' | 'peer' | 'route', string>>;
  readonly outcomes: Outcome[];
  readonly durations: ExponentialHistogram;
}

interface Outcome {
  readonly reason: string;
  readonly code: number;
  count: number;
}

/** By the other service, then by route. */
type TrafficTable = Map<string, Map<string, Traffic>>;

/** Manifests bound services and routes, but peers and statuses are others' to choose: what is beyond these bounds is one series. */
const tableMax = 500;
const outcomesMax = 100;
const other = 'other';

/**
 * Requests by direction, service at the other end, route, reason and status. They are counted in plain objects, found by strings that the record
 * holds anyway, and become series when somebody looks: done by the library, counting costs a busy sidecar more than deciding.
 */
export class RequestMetrics {
  readonly #tables: Readonly<Record<Direction, TrafficTable>> = { inbound: new Map(), outbound: new Map() };
  readonly #isForeign: (id: string) => boolean;
  #size = 0;

  /** `isForeign`: of workloads of others, whose names alone could be those of the cell. */
  constructor(metrics: Metrics, isForeign: (id: string) => boolean = () => false) {
    this.#isForeign = isForeign;
    metrics.family({
      name: 'cellmesh_requests_total',
      help: 'Requests that were decided, by other service, route, reason ("allowed", or why not) and status.',
      type: 'counter',
      read: () => this.#all().flatMap(countsOf),
    });
    metrics.family({
      name: 'cellmesh_request_duration_seconds',
      help: 'From the head of a request to the last byte of its response.',
      type: 'histogram',
      read: () => this.#all().flatMap(({ labels, durations }) => durations.samples(labels)),
    });
  }

  /** A finished record. Its `status` is 0 where no response could be sent. */
  count(record: DecisionRecord, durationMs: number): void {
    const { reason = 'allowed', status } = record;
    const { outcomes, durations } =
      record.direction === 'inbound'
        ? this.#traffic('inbound', record.peer ?? '', record.rule ?? '')
        : this.#traffic('outbound', record.callee ?? '', record.route ?? '');
    outcomeOf(outcomes, reason, status).count++;
    durations.observe(durationMs / 1000);
  }

  #traffic(direction: Direction, end: string, route: string): Traffic {
    return this.#tables[direction].get(end)?.get(route) ?? this.#begin(direction, end, route);
  }

  #begin(direction: Direction, end: string, route: string): Traffic {
    if (this.#size >= tableMax && end !== other) return this.#traffic(direction, other, other);
    const table = this.#tables[direction];
    const routes = table.get(end) ?? new Map<string, Traffic>();
    const begun = {
      labels: { direction, peer: this.#isForeign(end) ? end : shortName(end), route },
      outcomes: [],
      durations: new ExponentialHistogram(),
    };
    table.set(end, routes.set(route, begun));
    this.#size++;
    return begun;
  }

  #all(): Traffic[] {
    return Object.values(this.#tables).flatMap((table) =>
      [...table.values()].flatMap((routes) => [...routes.values()]),
    );
  }
}

function outcomeOf(outcomes: Outcome[], reason: string, code: number): Outcome {
  for (const outcome of outcomes) if (outcome.code === code && outcome.reason === reason) return outcome;
  if (outcomes.length >= outcomesMax && reason !== other) return outcomeOf(outcomes, other, 0);
  const outcome = { reason, code, count: 0 };
  outcomes.push(outcome);
  return outcome;
}

function countsOf({ labels, outcomes }: Traffic): Sample[] {
  return outcomes.map(({ reason, code, count }) => ({
    labels: { ...labels, reason, code: code === 0 ? 'none' : String(code) },
    value: count,
  }));
}
