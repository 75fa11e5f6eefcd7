import type { Metrics } from '#runtime/metrics.ts';
import type { DecisionReporter } from './decision-reporter.ts';

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
