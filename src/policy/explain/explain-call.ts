import type { Call } from '../cases/call.ts';
import type { CellAtHand } from '../cases/cell-at-hand.ts';
import type { CallDecision } from '../cases/decide-call.ts';
import type { FailedCondition } from '../decide.ts';
import { shortName } from '../decision-line.ts';
import { reasons } from '../reasons.ts';
import { type NeededChanges, neededChanges } from './changes.ts';
import { type EvaluatedRule, evaluate } from './evaluate.ts';
import { changeLines, shownRules } from './rule-lines.ts';

/** A call that nobody made, with all that was found out about it. */
interface CallExplanation {
  readonly version: string;
  readonly request: {
    readonly peer: string;
    readonly callee: string;
    readonly port: number;
    readonly method: string;
    readonly path: string;
    readonly account?: string;
    /** Of the token. */
    readonly claims?: unknown;
    /** What the hops before have left. */
    readonly left?: string;
  };
  readonly decision: {
    readonly outcome: CallDecision['outcome'];
    /** Whose side refused. */
    readonly by?: 'caller' | 'callee';
    readonly rule?: string;
    readonly reason?: string;
    readonly failed?: FailedCondition;
    /** What is left for calls that follow. */
    readonly granted?: string;
  };
  /** Allowing rules first, then the nearest; absent where the callee was not asked. */
  readonly rules?: readonly EvaluatedRule[];
  readonly needed?: NeededChanges | undefined;
}

export function explainCall(policies: CellAtHand, call: Call, decision: CallDecision): CallExplanation {
  const rules = 'asked' in decision ? evaluate(decision.asked) : undefined;
  return {
    version: policies.version,
    request: factsOf(call),
    decision: told(decision),
    ...(rules && { rules }),
    ...(rules && 'asked' in decision && { needed: neededChanges(rules, decision.asked, policies) }),
  };
}

function factsOf({ peer, callee, port, method, target, customer }: Call): CallExplanation['request'] {
  const facts = { peer, callee, port: port.port, method, path: target };
  if (customer === undefined) return facts;
  const { token, left } = customer;
  return { ...facts, account: token.account!, claims: token.claims, left: left.text };
}

function told(decision: CallDecision): CallExplanation['decision'] {
  const { outcome } = decision;
  if (outcome === 'allow') return { outcome, rule: decision.rule, granted: decision.granted.text };
  const { reason, failed } = decision.denial;
  if (outcome === 'audit') return { outcome, reason, failed, granted: decision.granted.text };
  return { outcome, by: decision.by, reason, failed };
}

/** The same for people. @param rulesMax so many rules are shown, the nearest first */
export function callLines(policies: CellAtHand, call: Call, decision: CallDecision, rulesMax: number): string[] {
  const { rules, needed } = explainCall(policies, call, decision);
  const callee = `${call.callee}, port ${call.port.port}`;
  const lines = [
    `Peer      ${call.isRouter ? call.peer : (call.caller ?? call.peer)}`,
    `Callee    ${callee}`,
    `Request   ${call.isConnection ? 'a connection' : `${call.method} ${call.target}`}`,
    ...customerLines(call, decision),
    `Policy    version ${policies.version}`,
    '',
    ...verdictLines(decision),
  ];
  if (rules === undefined) return [...lines, ...callerLines(call, decision)];
  return [...lines, '', ...shownRules(call.callee, rules, rulesMax), ...(needed ? ['', ...changeLines(needed)] : [])];
}

function customerLines({ customer, isRouter, isSelf }: Call, decision: CallDecision): string[] {
  const asked = 'asked' in decision ? decision.asked : undefined;
  const granted = asked ? [`Granted   ${asked.policy.grantedTo(asked.request).text || 'none'}`] : [];
  const self = isSelf ? ['As        self: the workload itself, no customer'] : [];
  if (customer === undefined) return [...self, 'Token     none', ...granted];
  const { token, left } = customer;
  const others = Object.entries(token.claims).filter(([name]) => !knownClaims.has(name));
  return [
    ...self,
    `Account   ${token.account}`,
    `Token     scope: ${token.scopes.text || 'none'}`,
    ...(token.subject === token.account ? [] : [`          sub: ${token.subject}`]),
    ...others.map(([name, value]) => `          ${name}: ${JSON.stringify(value)}`),
    ...(isRouter ? [] : [`Left      ${left.text || 'none'}`]),
    ...granted,
  ];
}

const knownClaims = new Set('account aud cell_epoch cell_id client_id exp gen iat iss jti scope sub'.split(' '));

function verdictLines(decision: CallDecision): string[] {
  if (decision.outcome === 'allow') return [`ALLOWED by rule \`${decision.rule}\`.`];
  const { reason, failed } = decision.denial;
  const word =
    decision.outcome === 'audit'
      ? `ALLOWED in audit mode; enforcing would deny it with ${reason}`
      : `DENIED with ${reasons[reason].status} ${reason}, on the ${decision.by}'s side`;
  return [`${word}.`, `  expected  ${failed.expected}`, `  actual    ${failed.actual}`];
}

/** What to change where the request never gets to the callee. */
function callerLines(call: Call, decision: CallDecision): string[] {
  if (decision.outcome === 'allow') return [];
  const { meaning, action } = reasons[decision.denial.reason];
  const specific: Readonly<Record<string, string>> = {
    not_declared: `add \`to: ${call.callee}\` to \`calls\` of ${call.caller ?? shortName(call.peer)}`,
    route_unknown: `add ${call.target} to \`expose\` of ${call.callee}`,
  };
  const change = specific[decision.denial.reason];
  return ['', meaning, `What to do: ${action}`, ...(change === undefined ? [] : [`  - ${change}`])];
}
