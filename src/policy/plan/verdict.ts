import type { ScopeSet } from '#tokens/scope.ts';
import type { FailedCondition } from '../decide.ts';
import type { DecisionRecord } from '../decision-record.ts';
import type { Reason } from '../reasons.ts';
import type { Replayed } from '../replay.ts';

/** What one version of the manifests says of a recorded request, at the hop that recorded it. */
export type Verdict =
  | { readonly tag: 'allowed'; readonly rule?: string | undefined; readonly granted?: ScopeSet | undefined }
  | { readonly tag: 'denied'; readonly reason: Reason; readonly failed: FailedCondition }
  /** `lacking`: what was not recorded and decides, each in words. */
  | { readonly tag: 'unknown'; readonly rule?: string | undefined; readonly lacking: readonly string[] };

export function denied(
  reason: Reason,
  condition: FailedCondition['condition'],
  expected: string,
  actual: string,
): Verdict {
  return { tag: 'denied', reason, failed: { condition, expected, actual } };
}

export function unknown(...lacking: readonly string[]): Extract<Verdict, { tag: 'unknown' }> {
  return { tag: 'unknown', lacking };
}

/** What was decided then. */
export function recordedVerdict({ outcome, rule, reason, failed }: DecisionRecord): Verdict {
  if (outcome === 'permit') return { tag: 'allowed', rule };
  const condition = failed ?? { condition: 'rule', expected: 'not recorded', actual: 'not recorded' };
  return { tag: 'denied', reason: reason ?? 'internal', failed: condition };
}

export function replayedVerdict(replayed: Replayed): Verdict {
  switch (replayed.tag) {
    case 'allowed':
      return { tag: 'allowed', rule: replayed.rule, granted: replayed.granted };
    case 'denied':
      return { tag: 'denied', reason: replayed.denial.reason, failed: replayed.denial.failed };
    case 'unknown':
      return {
        tag: 'unknown',
        rule: replayed.rule,
        lacking: replayed.pointers.map((pointer) => `the claim ${pointer} was not recorded`),
      };
  }
}
