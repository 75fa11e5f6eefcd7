import { PathRejected } from '#policy/canonical-path.ts';
import { type Denial, deny, type FailedCondition } from '#policy/decide.ts';
import type { Reason } from '#policy/reasons.ts';
import { TokenRejected } from '#tokens/token-reasons.ts';

/** Ends the path of a request before policy could decide; `denial` is the answer. */
export class Refused extends Error {
  readonly denial: Denial;

  constructor(reason: Reason, condition: FailedCondition['condition'], expected: string, actual: string) {
    super(reason);
    this.name = 'Refused';
    this.denial = deny(reason, { condition, expected, actual });
  }
}

/**
 * The denial that an error on the path of a request stands for: the one place of the sidecar where errors of other rooms become reasons. Undefined
 * for what is our own fault.
 */
export function denialOf(error: unknown): Denial | undefined {
  if (error instanceof Refused) return error.denial;
  if (error instanceof TokenRejected) {
    return deny(error.reason, { condition: 'token', expected: 'a valid token', actual: error.message });
  }
  if (error instanceof PathRejected) {
    return deny(error.reason, { condition: 'path', expected: 'a path with one reading', actual: error.message });
  }
  return undefined;
}

export const internalDenial: Denial = deny('internal', {
  condition: 'call',
  expected: 'no error in the sidecar',
  actual: 'see its log',
});
