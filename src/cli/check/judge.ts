import { type Check, type Finding, type Verdict, verdicts } from './check-definition.ts';
import type { Facts } from './facts.ts';

export interface Result {
  readonly check: Check;
  /** The worst of its findings. */
  readonly verdict: Verdict;
  readonly findings: readonly Finding[];
}

/** What the checks say of the facts. A check with nothing to look at is left out. */
export function judge(checks: readonly Check[], facts: Facts): readonly Result[] {
  return checks.flatMap((check) => {
    const findings = check.judge(facts);
    return findings.length === 0 ? [] : [{ check, verdict: worst(findings), findings }];
  });
}

/** What could not be looked at has not passed: a gate would be open otherwise, and nobody would know. */
export function hasFailed(results: readonly Result[], { strict }: { readonly strict: boolean }): boolean {
  return results.some(({ verdict }) => verdict === 'fail' || verdict === 'unknown' || (strict && verdict === 'warn'));
}

/** A failure is known to be one; what is not known may be one. */
const order: readonly Verdict[] = ['ok', 'warn', 'unknown', 'fail'];

function worst(findings: readonly Finding[]): Verdict {
  return findings
    .map(({ verdict }) => verdict)
    .reduce((one, other) => (order.indexOf(other) > order.indexOf(one) ? other : one));
}

/** How many checks ended with each verdict. */
export function countOf(results: readonly Result[]): Readonly<Record<Verdict, number>> {
  const count = (verdict: Verdict) => results.filter((one) => one.verdict === verdict).length;
  return Object.fromEntries(verdicts.map((verdict) => [verdict, count(verdict)])) as Record<Verdict, number>;
}
