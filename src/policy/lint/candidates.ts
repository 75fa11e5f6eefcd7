import { isDeepStrictEqual } from 'node:util';
import { workloadText } from '../workload-name.ts';
import type { Report, Subject } from './subject.ts';

/** Candidates that nobody needs any more. */
export function checkCandidates({ policies, compiled, idOf }: Subject, report: Report): void {
  for (const policy of policies) {
    if (policy.rollout === undefined) continue;
    const { mode, rules, candidate } = compiled.snapshots.get(idOf(policy))!;
    const service = workloadText(policy);
    if (mode === candidate!.mode && isDeepStrictEqual(rules, candidate!.rules))
      report(
        'candidate-needless',
        policy,
        policy.at,
        `the candidate of ${service} says what the version in force says`,
      );
    else if (policy.rollout.percent === 100)
      report('candidate-complete', policy, policy.at, `the candidate of ${service} is in force for all accounts`);
  }
}
