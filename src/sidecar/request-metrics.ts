import type { Metrics } from '#runtime/metrics.ts';

export type Direction = 'inbound' | 'outbound';

/** From a hop on one machine (half a millisecond) to the longest time-out of a request's head. */
const durationBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

interface Counted {
  inc(): void;
}

interface Observed {
  observe(value: number): void;
}

/**
 * Requests by direction, reason and class of status. The children of each combination are kept: finding one by its labels costs the library
 * more than counting. Reasons come from one table and statuses fold into six classes, so no peer can make series grow.
 */
export class RequestMetrics {
  readonly #requests: { labels(direction: Direction, reason: string, status: string): Counted };
  readonly #durations: Readonly<Record<Direction, Observed>>;
  readonly #children = new Map<string, Counted>();

  constructor(metrics: Metrics) {
    this.#requests = metrics.counter(
      'cellmesh_requests_total',
      'Requests that were decided, by direction, reason ("allowed" or the code of a denial or failure) and class of status.',
      ['direction', 'reason', 'status'],
    );
    const durations = metrics.histogram(
      'cellmesh_request_duration_seconds',
      'From the head of a request to the last byte of its response.',
      durationBuckets,
      ['direction'],
    );
    this.#durations = { inbound: durations.labels('inbound'), outbound: durations.labels('outbound') };
  }

  /** `status` 0 means that no response could be sent. */
  count(direction: Direction, reason: string, status: number, durationMs: number): void {
    const statusClass = status === 0 ? 'none' : `${Math.floor(status / 100)}xx`;
    const key = `${direction} ${reason} ${statusClass}`;
    let child = this.#children.get(key);
    if (child === undefined) {
      child = this.#requests.labels(direction, reason, statusClass);
      this.#children.set(key, child);
    }
    child.inc();
    this.#durations[direction].observe(durationMs / 1000);
  }
}
