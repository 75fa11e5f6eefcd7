import type { DecisionRecord } from '../decision-record.ts';
import { reasons } from '../reasons.ts';

/** A decision in words, for an operator: what was asked, what was decided, by which rule or for want of what, and what would change it. */
export function explain(record: DecisionRecord): string {
  const lines = [
    `Decision  ${record.id}`,
    `Time      ${record.time}`,
    `Where     ${place(record)}`,
    ...line('Peer', record.peer),
    ...line('Callee', record.callee),
    ...line(
      'Request',
      record.method === undefined ? undefined : `${record.method} ${record.path ?? '(no canonical path)'}`,
    ),
    ...line('Route', record.route),
    ...line('Account', record.account),
    ...tokenLines(record),
    ...line('Left', record.left === undefined ? undefined : `${record.left || 'none'}   (word of the hop before)`),
    ...line('Granted', record.granted === undefined ? undefined : record.granted || 'none'),
    ...line('Policy', record.policyVersion === undefined ? undefined : `version ${record.policyVersion}`),
    ...line('Candidate', candidateText(record)),
    ...line('Trace', record.traceId),
    ...line('Degraded', record.degraded),
    '',
    ...verdict(record),
  ];
  return `${lines.join('\n')}\n`;
}

function place({ direction, service, instance }: DecisionRecord): string {
  const roles = {
    inbound: `on the way into ${service ?? 'a service'}`,
    outbound: `on the way out of ${service ?? 'a service'}`,
    edge: 'at the cell router',
  };
  return `${roles[direction]}, by ${instance}`;
}

function tokenLines({ claims }: DecisionRecord): string[] {
  if (claims === undefined) return [];
  const cell = claims.cellId === undefined ? '' : `, cell ${claims.cellId}`;
  return [
    `Token     ${claims.kind} token ${claims.tokenId}, presented by ${claims.clientId}${cell}`,
    `          scope: ${claims.scope || 'none'}`,
    ...(claims.actor === undefined ? [] : [`          act.sub: ${claims.actor}`]),
    ...Object.entries(claims.values ?? {}).map(([pointer, [value]]) => `          ${pointer}: ${valueText(value)}`),
  ];
}

function valueText(value: unknown): string {
  return value === undefined ? 'none' : JSON.stringify(value).slice(0, 200);
}

function candidateText({ candidate }: DecisionRecord): string | undefined {
  if (candidate === undefined) return undefined;
  const { version, outcome, rule, reason, isInForce } = candidate;
  const verdict =
    outcome === 'permit' ? `allows it${rule === undefined ? '' : ` by rule \`${rule}\``}` : `denies it with ${reason}`;
  return `${version} ${verdict}; ${isInForce ? 'it was in force for this account' : 'it was not in force'}`;
}

function verdict(record: DecisionRecord): string[] {
  const { outcome, rule, failed, reason, status, isAudited } = record;
  if (outcome === 'permit' && !isAudited) {
    const answer = status === 0 ? 'the caller was gone before the answer' : `answered ${status}`;
    return [
      `ALLOWED${rule === undefined ? '' : ` by rule \`${rule}\``}; ${answer}.`,
      ...(reason === undefined ? [] : because(record)),
    ];
  }
  const word = isAudited
    ? `ALLOWED in audit mode; enforcing would deny it with ${reason}`
    : `DENIED with ${status} ${reason}`;
  const nearest =
    failed?.rule === undefined
      ? []
      : [`The nearest rule is \`${failed.rule}\`; its first condition that failed: ${failed.condition}.`];
  const values = failed === undefined ? [] : [`  expected  ${failed.expected}`, `  actual    ${failed.actual}`];
  return [`${word}.`, ...nearest, ...values, ...because(record)];
}

function because({ reason }: DecisionRecord): string[] {
  if (reason === undefined) return [];
  const { meaning, action } = reasons[reason] ?? { meaning: reason, action: '' };
  return ['', meaning, `What to do: ${action}`];
}

function line(title: string, value: string | undefined): string[] {
  return value === undefined ? [] : [`${title.padEnd(9)} ${value}`];
}
