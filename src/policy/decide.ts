import type { Reason } from './reasons.ts';

/** The conditions of a rule, in the order in which they are tried: the rule that got furthest is the nearest. */
export const conditions = [
  'port',
  'path',
  'method',
  'peer',
  'declared',
  'until',
  'account',
  'actor',
  'claims',
  'scopes',
  'limit',
] as const;

export type Condition = (typeof conditions)[number];

/** What did not hold, in words for operators. */
export interface FailedCondition {
  /** The rule that came nearest; absent where there was none to try. */
  readonly rule?: string;
  readonly condition: Condition | 'rule' | 'token' | 'hop' | 'context' | 'call';
  readonly expected: string;
  readonly actual: string;
}

declare const proof: unique symbol;

/** Proof that a request was decided on and may go on: only the deciding functions of this room make one. */
export type Permit<Grant> = Grant & { readonly outcome: 'permit'; readonly [proof]: true };

export interface Denial {
  readonly outcome: 'deny';
  readonly reason: Reason;
  readonly failed: FailedCondition;
  /** When asking again makes sense. */
  readonly retryAfterMs?: number;
}

export function deny(reason: Reason, failed: FailedCondition): Denial {
  return { outcome: 'deny', reason, failed };
}

/** For the deciding functions only. */
export function permit<Grant extends { readonly outcome: 'permit' }>(grant: Grant): Permit<Omit<Grant, 'outcome'>> {
  return grant as unknown as Permit<Omit<Grant, 'outcome'>>;
}
