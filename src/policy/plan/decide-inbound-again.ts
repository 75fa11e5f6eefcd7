import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { ScopeSet } from '#tokens/scope.ts';
import type { InboundPolicy } from '../decide-inbound.ts';
import type { DecisionRecord } from '../decision-record.ts';
import { type Replayed, replay } from '../replay.ts';
import type { SnapshotCall } from '../snapshot.ts';
import { type CellPolicies, carriesNothing } from './cell-policies.ts';
import type { FlowChange } from './scope-flow.ts';
import { denied, replayedVerdict, unknown, type Verdict } from './verdict.ts';

/** The manifests that decide, those that were in force where they are known, and what changed for scopes on the way. */
export interface Versions {
  readonly after: CellPolicies;
  readonly before: CellPolicies | undefined;
  readonly flow: FlowChange;
}

/** Whether any rule without a limit allows it. */
const nothingLeft = { take: () => 1 };

/** What the service asked would say of a recorded request; both sides of the call count, as far as they show here. */
export function decideInboundAgain(record: DecisionRecord, versions: Versions): Verdict {
  const { after, before } = versions;
  const service = record.service!;
  const policy = after.inbound(service);
  if (policy === undefined) return denied('policy_missing', 'call', `a manifest of ${service}`, 'none');
  const port = portProblem(record, policy);
  if (port !== undefined) return port;
  const to = policy.snapshot.service.id;
  const from = record.peer as SpiffeId;
  if (before?.snapshots.has(from) && !after.snapshots.has(from))
    return denied('policy_missing', 'call', `a manifest of the caller ${from}`, 'none');
  const call = after.call(from, to);
  if (record.claims !== undefined && call?.token === 'none') return limited(policy, withoutCustomer(record), undefined);
  const verdict =
    record.claims === undefined || record.left === undefined
      ? limited(policy, record, undefined)
      : withinBounds(policy, record, versions.flow, from);
  const isOpen = record.claims === undefined && call !== undefined && mayLackContext(before?.call(from, to), call);
  if (isOpen && verdict.tag === 'allowed') return { ...unknown(lackingContext), rule: verdict.rule };
  const lost = lostNames(before?.snapshotOf(service)?.service.hosts, policy.snapshot.service.hosts);
  return lost !== undefined && verdict.tag === 'allowed' ? { ...unknown(lost), rule: verdict.rule } : verdict;
}

export const lackingContext =
  'whether the application says `cellmesh-as: self` is not recorded, and the call carries a customer now';

/** A call that went without a customer because it carries nothing needs the word of the application once it carries something. */
export function mayLackContext(before: SnapshotCall | undefined, after: SnapshotCall): boolean {
  return before !== undefined && carriesNothing(before) && !carriesNothing(after);
}

/** Which name of a service is gone; records do not say by which one it was called. */
export function lostNames(before: readonly string[] | undefined, after: readonly string[]): string | undefined {
  const lost = before?.filter((host) => !after.includes(host)) ?? [];
  return lost.length === 0 ? undefined : `by which host it was called is not recorded, and ${lost.join(', ')} is gone`;
}

function portProblem({ port, path }: DecisionRecord, { snapshot }: InboundPolicy): Verdict | undefined {
  if (port === undefined) return undefined;
  const { ports } = snapshot.service;
  const found = ports.find((one) => one.port === port);
  if (found === undefined)
    return denied('host_unknown', 'call', `ports ${ports.map((one) => one.port).join(', ')}`, String(port));
  const isOpaque = path === undefined;
  if (isOpaque === (found.protocol === 'tcp')) return undefined;
  return denied('protocol_mismatch', 'call', found.protocol, isOpaque ? 'a connection' : 'a request');
}

/** More scopes never allow less: between the least and the most that can be left, the answer changes once at most. */
function withinBounds(policy: InboundPolicy, record: DecisionRecord, flow: FlowChange, from: SpiffeId): Verdict {
  const { id } = policy.snapshot.service;
  if (flow.isSame(from, id)) return limited(policy, record, undefined);
  const { least, most, open } = flow.boundsOf(from, id, record.left!, record.claims!.scope);
  const atLeast = limited(policy, record, least);
  if (atLeast.tag === 'allowed' || open === '') return atLeast;
  const atMost = limited(policy, record, most);
  if (atMost.tag === 'denied') return atMost;
  const left = `whether ${open} is left at the caller is not recorded`;
  const lacking = atMost.tag === 'unknown' ? [left, ...atMost.lacking] : [left];
  return { tag: 'unknown', rule: atMost.rule, lacking };
}

/** What a limit refused then, a rule without one may allow now; whether a limit would refuse it again nobody knows. */
function limited(policy: InboundPolicy, record: DecisionRecord, left: ScopeSet | undefined): Verdict {
  const again = replay(policy, record, { left });
  if (record.reason !== 'limit_reached' || again.tag !== 'allowed') return replayedVerdict(again);
  const unlimited: Replayed = replay(policy, record, { left, budgets: nothingLeft });
  if (unlimited.tag === 'allowed') return replayedVerdict(unlimited);
  return { ...unknown('what is left of the limits of its rules is not recorded'), rule: again.rule };
}

function withoutCustomer({
  claims: _claims,
  account: _account,
  left: _left,
  ...record
}: DecisionRecord): DecisionRecord {
  return record;
}
