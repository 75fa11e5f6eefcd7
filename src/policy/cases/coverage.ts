import type { CellAtHand } from './cell-at-hand.ts';
import type { CaseResult } from './run-cases.ts';

/** Which rules allow something in the cases. */
export interface Coverage {
  readonly rules: number;
  readonly reached: number;
  /** Of 100, rounded down: 100 are all. */
  readonly percent: number;
  /** In the order of the manifests. */
  readonly missed: readonly { readonly service: string; readonly rule: string }[];
}

export function coverageOf({ snapshots }: CellAtHand, results: readonly CaseResult[]): Coverage {
  const reached = new Set(
    results.flatMap(({ hops }) =>
      hops.flatMap(({ call, decision }) => (decision.outcome === 'allow' ? [`${call.callee} ${decision.rule}`] : [])),
    ),
  );
  const all = [...snapshots.values()].flatMap(({ service, rules }) =>
    rules.map(({ name }) => ({ service: service.name, rule: name })),
  );
  const missed = all.filter(({ service, rule }) => !reached.has(`${service} ${rule}`));
  const found = all.length - missed.length;
  const percent = all.length === 0 ? 100 : Math.floor((100 * found) / all.length);
  return { rules: all.length, reached: found, percent, missed };
}
