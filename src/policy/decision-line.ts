import type { DecisionRecord } from './decision-record.ts';

/** A decision in one line of plain text, for following along. */
export function decisionLine(record: DecisionRecord): string {
  const time = record.time.slice(11, 23);
  const verdict = record.outcome === 'deny' ? 'DENY ' : record.isAudited ? 'AUDIT' : 'ALLOW';
  const request = `${record.method ?? '-'} ${record.path ?? '-'}`;
  const why = record.reason ?? (record.rule === undefined ? '' : `rule ${record.rule}`);
  return `${time} ${verdict} ${String(record.status).padStart(3)} ${parties(record).padEnd(38)} ${request.padEnd(28)} ${why.padEnd(20)} ${record.id}`;
}

function parties({ direction, peer, service, callee, account }: DecisionRecord): string {
  switch (direction) {
    case 'edge':
      return `${account === undefined ? 'client' : shortAccount(account)} -> router -> ${callee ?? '-'}`;
    case 'inbound':
      return `${shortName(peer)} -> [${service ?? '-'}]`;
    case 'outbound':
      return `[${service ?? '-'}] -> ${callee ?? '-'}`;
  }
}

/** An id, or the name that stands for it (`hmac-<key>-<digits>`): enough to tell one from another. */
function shortAccount(account: string): string {
  return `${/^hmac-\d+-.{6}/.exec(account)?.[0] ?? account.slice(0, 8)}…`;
}

/** `spiffe://td/ns/a/sa/b` as `a/b`; other IDs by their path. */
export function shortName(id: string | undefined): string {
  if (id === undefined || id === '') return '-';
  const workload = /\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(id);
  return workload === null ? id.replace(/^spiffe:\/\/[^/]*\//, '') : `${workload[1]}/${workload[2]}`;
}
