import type { CanonicalPath } from './canonical-path.ts';
import type { FailedCondition } from './decide.ts';
import type { CandidateVerdict } from './decide-inbound.ts';
import type { DecisionRecord, RecordedClaims } from './decision-record.ts';
import type { DecisionStamp } from './decision-stamps.ts';
import type { Reason } from './reasons.ts';

/** Of W3C Trace Context: hexadecimal digits, and nothing else. */
export type TraceId = string & { readonly __brand: 'TraceId' };

/**
 * A record while its request is under way: each step of the path writes down what it finds. All members are there from the start, in the order of
 * the JSON: a record that grew would be moved at every few of them.
 */
export class OpenRecord implements DecisionRecord {
  readonly schema = 2;
  readonly id: string;
  readonly time: string;
  readonly direction: DecisionRecord['direction'];
  readonly instance: string;
  /** A denial until something better is decided: what is forgotten on the way must not look like a permit. */
  outcome: DecisionRecord['outcome'] = 'deny';
  isAudited: boolean | undefined;
  reason: Reason | undefined;
  status = 0;
  peer: string | undefined;
  address: string | undefined;
  service: string | undefined;
  policyVersion: string | undefined;
  callee: string | undefined;
  port: number | undefined;
  rule: string | undefined;
  route: string | undefined;
  left: string | undefined;
  granted: string | undefined;
  account: string | undefined;
  claims: RecordedClaims | undefined;
  method: string | undefined;
  path: CanonicalPath | undefined;
  traceId: TraceId | undefined;
  failed: FailedCondition | undefined;
  candidate: CandidateVerdict | undefined;
  degraded: string | undefined;
  durationMs = 0;

  /** `instance` begins the id of the stamp. */
  constructor({ id, time }: DecisionStamp, direction: DecisionRecord['direction'], instance: string) {
    this.id = id;
    this.time = time;
    this.direction = direction;
    this.instance = instance;
  }
}
