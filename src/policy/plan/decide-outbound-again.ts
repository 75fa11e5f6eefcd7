import { parseCanonicalPath } from '../canonical-path.ts';
import type { OutboundCall } from '../decide-outbound.ts';
import type { DecisionRecord } from '../decision-record.ts';
import { matchesPath } from '../path-pattern.ts';
import type { SnapshotCall } from '../snapshot.ts';
import { carriesNothing } from './cell-policies.ts';
import {
  decideInboundAgain,
  lackingContext,
  lostNames,
  mayLackContext,
  type Versions,
} from './decide-inbound-again.ts';
import { denied, recordedVerdict, unknown, type Verdict } from './verdict.ts';

/** What the caller's own sidecar would say of a recorded call; undefined where manifests have no say in it. */
export function decideOutboundAgain(record: DecisionRecord, versions: Versions): Verdict | undefined {
  const { service, callee, outcome, reason, failed } = record;
  if (service === undefined) return undefined;
  const policy = versions.after.outbound(service);
  if (policy === undefined)
    return outcome === 'permit' ? denied('policy_missing', 'call', `a manifest of ${service}`, 'none') : undefined;
  if (reason === 'not_declared') {
    const [, host = '', port] = authorityPattern.exec(failed?.actual ?? '') ?? [];
    const isFound = policy.findCall(host, port === undefined ? undefined : Number(port)) !== undefined;
    return isFound ? unknown('the call is declared now, and what it asked for was not recorded') : undefined;
  }
  if (callee === undefined) return undefined;
  const call = policy.calls.find(({ source }) => source.name === callee);
  if (outcome === 'deny') return call && refusedBefore(record, call, versions);
  if (call === undefined)
    return denied('not_declared', 'call', `${callee} among the calls of ${service}`, 'it is not there');
  return sentBefore(record, call, versions);
}

const authorityPattern = /^(\[[^\]]*\]|[^:[\]]+)(?::(\d{1,5}))?$/;

/** What its own manifest refused then may go out now, and be refused by whoever is called. */
function refusedBefore(record: DecisionRecord, call: OutboundCall, versions: Versions): Verdict | undefined {
  const { reason } = record;
  if (reason !== 'context_missing' && reason !== 'account_not_expected') return undefined;
  const goesOut = reason === 'context_missing' ? carriesNothing(call.source) : !isSensitive(call.source, record);
  if (!goesOut) return recordedVerdict(record);
  const [port, ...others] = call.source.ports;
  if (others.length > 0) return unknown(`which port of ${call.source.name} was meant is not recorded`);
  const peer = versions.after.snapshotOf(record.service!)!.service.id;
  return decideInboundAgain({ ...record, service: call.source.name, peer, port: port!.port }, versions);
}

function sentBefore(record: DecisionRecord, { source }: OutboundCall, versions: Versions): Verdict {
  const { before, after } = versions;
  const from = after.snapshotOf(record.service!)!.service.id;
  const old = before?.call(from, source.id);
  const isConnection = record.path === undefined;
  if (record.claims === undefined && !isConnection) {
    const isOpen = old === undefined ? !carriesNothing(source) : mayLackContext(old, source);
    if (isOpen) return unknown(lackingContext);
  }
  const wasSensitive = old !== undefined && isSensitive(old, record);
  if (record.claims !== undefined && !wasSensitive && isSensitive(source, record))
    return unknown('whether the application says whose data it means is not recorded');
  const lost = lostNames(old?.hosts, source.hosts);
  return lost === undefined ? { tag: 'allowed' } : unknown(lost);
}

/** Whether the callee has a sensitive route for it; the port of a call is not recorded. */
function isSensitive({ sensitive }: SnapshotCall, { method, path }: DecisionRecord): boolean {
  if (path === undefined) return false;
  const canonical = parseCanonicalPath(path);
  return sensitive.some(
    ({ methods, paths }) =>
      (methods?.includes(method ?? '') ?? true) && (paths?.some((pattern) => matchesPath(pattern, canonical)) ?? true),
  );
}
