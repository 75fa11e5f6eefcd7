import { CellmeshError } from '#runtime/errors.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import { type Pointer, valueAt } from './claim-condition.ts';
import type { FailedCondition } from './decide.ts';
import type { CandidateVerdict } from './decide-inbound.ts';
import type { Reason } from './reasons.ts';

type Direction = 'inbound' | 'outbound' | 'edge';

/** What policy saw of a token: enough to explain and to replay a decision, nothing to replay a request with. */
export interface RecordedClaims {
  readonly kind: string;
  readonly subject: string;
  readonly clientId: string;
  readonly tokenId: string;
  readonly scope: string;
  readonly cellId?: string;
  readonly generation?: number;
  readonly issuer?: string;
  /** `act.sub`, where somebody acts for the subject. */
  readonly actor?: string;
  /** Of every pointer that a rule of the service names: the value that stood there, or nothing. What is not here was not looked at. */
  readonly values?: Readonly<Record<string, readonly unknown[]>>;
}

/**
 * The one schema of a decision: raw material of access log, explain, plan, audit and metrics. No bodies, no tokens, no query strings.
 * JSON, a line each; fields that do not apply are absent. In this order they are written.
 */
export interface DecisionRecord {
  readonly schema: 2 | 1;
  readonly id: string;
  /** ISO 8601, milliseconds, UTC. */
  readonly time: string;
  readonly direction: Direction;
  /** The sidecar or router that decided; decision ids begin with it. */
  readonly instance: string;
  readonly outcome: 'permit' | 'deny';
  /** In audit mode: permitted, and this is what enforcing would have said. */
  readonly isAudited?: boolean | undefined;
  readonly reason?: Reason | undefined;
  /** The status that went back to the caller, the application's or ours; 0 when the caller was gone. */
  readonly status: number;
  /** SPIFFE ID of the caller; `unmeshed` where it came without TLS. */
  readonly peer?: string | undefined;
  /** Of a caller without TLS: from where it connected, without a port. */
  readonly address?: string | undefined;
  /** `namespace/service-account` of the service asked (inbound, edge) or calling (outbound). */
  readonly service?: string | undefined;
  readonly policyVersion?: string | undefined;
  /** Outbound and edge: the callee. */
  readonly callee?: string | undefined;
  /** Inbound and outbound: the port of the service that is asked. Since schema 2. */
  readonly port?: number | undefined;
  readonly rule?: string | undefined;
  /** Outbound: which of the call's routes it took, by its paths or methods; absent where the call has none for it. */
  readonly route?: string | undefined;
  /** What the hop before said was left. */
  readonly left?: string | undefined;
  /** The scopes in force at this hop. */
  readonly granted?: string | undefined;
  readonly account?: string | undefined;
  readonly claims?: RecordedClaims | undefined;
  readonly method?: string | undefined;
  /** The canonical path; for what has none, nothing. */
  readonly path?: string | undefined;
  /** W3C trace id, where the request carried one. */
  readonly traceId?: string | undefined;
  readonly failed?: FailedCondition | undefined;
  /** Where another version of the rules is tried beside the one in force. */
  readonly candidate?: CandidateVerdict | undefined;
  /** Decided without something that should have been there: `degraded` names it. */
  readonly degraded?: string | undefined;
  readonly durationMs?: number | undefined;
}

/** A record is a few hundred bytes; one that is longer was not written by us. */
const recordBytesMax = 16 * 1024;

/** Of each token once: many requests carry the same. */
const known = new WeakMap<VerifiedToken, { readonly pointers: readonly Pointer[]; readonly claims: RecordedClaims }>();

/** @param pointers of the rules that decide: the same list for the same snapshot */
export function claimsOf(token: VerifiedToken, pointers: readonly Pointer[] = noPointers): RecordedClaims {
  const before = known.get(token);
  if (before?.pointers === pointers) return before.claims;
  const claims = readClaims(token, pointers);
  known.set(token, { pointers, claims });
  return claims;
}

const noPointers: readonly Pointer[] = [];

function readClaims(token: VerifiedToken, pointers: readonly Pointer[]): RecordedClaims {
  return {
    kind: token.kind,
    subject: token.subject,
    clientId: token.clientId,
    tokenId: token.id,
    scope: token.scopes.text,
    issuer: token.issuer,
    ...(token.cellId === undefined ? {} : { cellId: token.cellId }),
    ...(token.generation === undefined ? {} : { generation: token.generation }),
    ...(token.actor === undefined ? {} : { actor: token.actor }),
    ...(pointers.length === 0 ? {} : { values: valuesOf(token, pointers) }),
  };
}

function valuesOf({ claims }: VerifiedToken, pointers: readonly Pointer[]): Record<string, readonly unknown[]> {
  return Object.fromEntries(
    pointers.map(({ text, steps }) => {
      const value = valueAt(claims, steps);
      return [text, value === undefined ? [] : [value]];
    }),
  );
}

/** @throws CellmeshError `decision_invalid`: no record of this schema */
export function parseDecisionRecord(line: string): DecisionRecord {
  if (line.length > recordBytesMax)
    throw new CellmeshError('decision_invalid', `a decision record is longer than ${recordBytesMax} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new CellmeshError('decision_invalid', 'a decision record is no JSON', { cause });
  }
  if (!isRecord(value))
    throw new CellmeshError('decision_invalid', 'a decision record lacks a field or is of another schema');
  return value;
}

/** What a store of decisions needs to know of a record. @throws CellmeshError `decision_invalid` */
export function readStoredDecision(line: string): { id: string; timeMs: number; isDenial: boolean; record: string } {
  const { id, time, outcome } = parseDecisionRecord(line);
  return { id, timeMs: Date.parse(time) || 0, isDenial: outcome === 'deny', record: line };
}

function isRecord(value: unknown): value is DecisionRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { schema, id, time, direction, instance, outcome, status } = value as Partial<
    Record<keyof DecisionRecord, unknown>
  >;
  return (
    (schema === 1 || schema === 2) &&
    [id, time, instance].every((field) => typeof field === 'string' && field.length <= 128) &&
    ['inbound', 'outbound', 'edge'].includes(direction as string) &&
    ['permit', 'deny'].includes(outcome as string) &&
    typeof status === 'number'
  );
}
