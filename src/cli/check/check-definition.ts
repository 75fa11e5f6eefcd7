import type { ClusterFacts } from './cluster-facts.ts';
import type { ControlPlaneFacts, Fact, Facts, MachineFacts } from './facts.ts';

/** In the order of the report. */
export const groups = [
  'programs',
  'certificates',
  'control plane',
  'sidecars',
  'policy',
  'machine',
  'cluster',
  'pods',
] as const;

export const verdicts = ['ok', 'warn', 'fail', 'unknown'] as const;
export type Verdict = (typeof verdicts)[number];

/** What is to say of one thing that was looked at. What is not well comes with the line that mends it. */
export type Finding =
  | { readonly verdict: 'ok'; readonly what: string }
  | { readonly verdict: Exclude<Verdict, 'ok'>; readonly what: string; readonly mend: string };

export interface Check {
  readonly id: string;
  readonly group: (typeof groups)[number];
  /** Where there is something to look at. */
  readonly places: readonly ('machine' | 'cluster')[];
  /** What it answers. */
  readonly question: string;
  /** What users of meshes suffer from, where this is about such a thing: for the documentation. */
  readonly pain: string;
  /** Pure. No finding at all says that there was nothing to look at. */
  readonly judge: (facts: Facts) => readonly Finding[];
}

export const everywhere = ['machine', 'cluster'] as const;

export function ok(what: string): Finding {
  return { verdict: 'ok', what };
}

export function warn(what: string, mend: string): Finding {
  return { verdict: 'warn', what, mend };
}

export function fail(what: string, mend: string): Finding {
  return { verdict: 'fail', what, mend };
}

export function unknown(what: string, mend: string): Finding {
  return { verdict: 'unknown', what: `not known: ${what}`, mend };
}

/** Judges what is known. What is not is never well. */
export function known<T>(fact: Fact<T>, mend: string, judge: (value: T) => readonly Finding[]): readonly Finding[] {
  return 'unknown' in fact ? [unknown(fact.unknown, mend)] : judge(fact.value);
}

/** What there is to say of every replica of the control plane; which one stands in front, where there are several. */
export function eachReplica(
  { controlPlane }: Facts,
  judge: (said: ControlPlaneFacts) => readonly Finding[],
): readonly Finding[] {
  return controlPlane.flatMap(({ name, said }) =>
    known(said, 'mend what the check `control-plane` says', judge).map((finding) =>
      controlPlane.length === 1 ? finding : { ...finding, what: `${name}: ${finding.what}` },
    ),
  );
}

/** What those replicas say that have answered. */
export function answersOf({ controlPlane }: Pick<Facts, 'controlPlane'>): readonly (ControlPlaneFacts & {
  readonly name: string;
})[] {
  return controlPlane.flatMap(({ name, said }) => ('value' in said ? [{ ...said.value, name }] : []));
}

/** What is wrong, or else that nothing is. */
export function orElse(problems: readonly Finding[], well: string): readonly Finding[] {
  return problems.length > 0 ? problems : [ok(well)];
}

const shownMax = 20;

/** As `orElse`, where hundreds may have the same trouble. */
export function few(problems: readonly Finding[], well: string): readonly Finding[] {
  const rest = problems.length - shownMax;
  if (rest <= 0) return orElse(problems, well);
  return [...problems.slice(0, shownMax), warn(`and ${rest} more`, 'as above')];
}

export function onMachine(judge: (machine: MachineFacts, facts: Facts) => readonly Finding[]): Check['judge'] {
  return (facts) => (facts.machine === undefined ? [] : judge(facts.machine, facts));
}

export function inCluster(judge: (cluster: ClusterFacts, facts: Facts) => readonly Finding[]): Check['judge'] {
  return (facts) => (facts.cluster === undefined ? [] : judge(facts.cluster, facts));
}

/** `3 pods`, `1 pod`. */
export function counted(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
