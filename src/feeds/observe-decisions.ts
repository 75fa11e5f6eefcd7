import type { Metrics } from '#runtime/metrics.ts';
import type { DecisionReporter } from './decision-reporter.ts';
import type { DecisionSink } from './decision-sinks.ts';
import type { DecisionStore } from './decision-store.ts';

/** How reporting goes; there may be no reporter yet. */
export function observeReports(metrics: Metrics, reporter: () => DecisionReporter | undefined): void {
  metrics.observed('cellmesh_decisions_unreported', 'Decisions in memory that wait to be reported.', () => {
    return reporter()?.waiting ?? 0;
  });
  metrics.observed('cellmesh_decisions_behind', '1 while denials wait on disk to be reported.', () => {
    return reporter()?.isBehind ? 1 : 0;
  });
  const counters: readonly [string, string, (one: DecisionReporter) => number][] = [
    [
      'cellmesh_decisions_recovered_total',
      'Denials and failures that were read again from disk.',
      (one) => one.recovered,
    ],
    ['cellmesh_decisions_unreported_total', 'Permits that memory had no room for.', (one) => one.dropped],
  ];
  for (const [name, help, read] of counters) {
    const value = () => {
      const one = reporter();
      return one === undefined ? 0 : read(one);
    };
    metrics.family({ name, help, type: 'counter', read: () => [{ labels: {}, value: value() }] });
  }
}

/** What becomes of records; `edges` tells which permits are the first of their kind. */
export function observeDecisions(
  metrics: Metrics,
  sink: Omit<DecisionSink, 'add'>,
  edges: { readonly size: number; readonly overflow: number },
): void {
  metrics.observed('cellmesh_decisions_dropped', 'Decisions that never reached the disk, since the start.', () => {
    return sink.dropped;
  });
  metrics.observed(
    'cellmesh_decisions_thinned',
    'Permits that were not reported, since the start.',
    () => sink.thinned,
  );
  metrics.observed('cellmesh_decision_edges', 'Edges that were permitted since the start.', () => edges.size);
  metrics.family({
    name: 'cellmesh_decision_edges_overflow_total',
    help: 'Permits of edges that there was no room to know.',
    type: 'counter',
    read: () => [{ labels: {}, value: edges.overflow }],
  });
  metrics.family({
    name: 'cellmesh_decisions_reported_total',
    help: 'Decisions given to be reported: denials and failures, first permits of an edge, other permits.',
    type: 'counter',
    read: () => Object.entries(sink.reported).map(([kind, value]) => ({ labels: { kind }, value })),
  });
  metrics.family({
    name: 'cellmesh_access_log_dropped_total',
    help: 'Lines of the access log that its reader was too slow for.',
    type: 'counter',
    read: () => [{ labels: {}, value: sink.unlogged }],
  });
}

/** How much is stored. */
export function observeStore(metrics: Metrics, store: DecisionStore): void {
  metrics.observed('cellmesh_decisions_stored', 'Decisions in the store.', () => store.count());
  metrics.observed('cellmesh_decisions_stored_bytes', 'Bytes of the database that are in use.', () => store.bytes());
}
