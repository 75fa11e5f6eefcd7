import type { ServicePolicy } from '../manifest.ts';
import type { PolicySnapshot } from '../snapshot.ts';
import { callChanges } from './call-changes.ts';
import { type Change, changed, changedList } from './change.ts';
import { type Rules, ruleChanges } from './rule-changes.ts';

/** A version of a service, as it is written and as it is decided by. */
export interface Version {
  readonly policy: ServicePolicy;
  readonly snapshot: PolicySnapshot;
}

/** What differs of the versions in force. */
export function serviceChanges(before: Version, after: Version): Change[] {
  const [old, now] = [before.policy, after.policy];
  return [
    ...changed('name', `${old.namespace}/${old.name}`, `${now.namespace}/${now.name}`),
    ...modeChanges(old, now),
    ...changed('inbound', inboundText(old), inboundText(now), () =>
      (now.plaintextUntilMs ?? 0) > (old.plaintextUntilMs ?? 0) ? 'wider' : 'narrower',
    ),
    ...changedList('host', ...both(before, after, ({ policy }) => hostTexts(policy))),
    ...changedList('port', ...both(before, after, ({ policy }) => policy.ports.map(portText))),
    ...changedList('exposure', ...both(before, after, ({ policy }) => policy.expose.map(exposureText))),
    ...ruleChanges(before.snapshot, after.snapshot),
    ...callChanges(old, now),
  ];
}

/** What differs of the versions beside them. */
export function candidateChanges(before: Version, after: Version): Change[] {
  return [
    ...modeChanges(before.policy, after.policy),
    ...changed('rollout', rolloutText(before.policy), rolloutText(after.policy)),
    ...ruleChanges(rulesOfCandidate(before), rulesOfCandidate(after)),
  ];
}

/** What a candidate says, beside the version in force. */
export function candidateText({ policy }: Version): string {
  return `${policy.mode}, ${rolloutText(policy)}, rules ${policy.allow.map(({ value }) => value.name).join(', ') || 'none'}`;
}

/** What a service says, in a line. */
export function serviceText({ policy }: Version): string {
  const names = policy.allow.map(({ value }) => value.name).join(', ');
  return `${policy.mode}, ports ${policy.ports.map(portText).join(', ')}, rules ${names || 'none'}`;
}

function both<T>(before: Version, after: Version, of: (version: Version) => T): [T, T] {
  return [of(before), of(after)];
}

function modeChanges(before: ServicePolicy, after: ServicePolicy): Change[] {
  return changed('mode', before.mode, after.mode, () => (after.mode === 'audit' ? 'wider' : 'narrower'));
}

function inboundText({ plaintextUntilMs }: ServicePolicy): string {
  return plaintextUntilMs === undefined
    ? 'strict'
    : `observe-plaintext until ${new Date(plaintextUntilMs).toISOString()}`;
}

function rulesOfCandidate({ snapshot }: Version): Rules {
  return { ...snapshot, rules: snapshot.candidate!.rules };
}

function rolloutText({ rollout }: ServicePolicy): string {
  const { percent, newlyDeniedMax, requestsMin } = rollout!;
  return `${percent} % of accounts, withdrawn past ${newlyDeniedMax} % newly denied of ${requestsMin} requests or more`;
}

function hostTexts({ bareHost, hosts, namespace }: ServicePolicy): string[] {
  const everywhere = hosts.map(({ value }) => value);
  return bareHost === undefined ? everywhere : [`${bareHost} within ${namespace}`, ...everywhere];
}

function portText({ port, protocol }: ServicePolicy['ports'][number]): string {
  return `${port} ${protocol}`;
}

function exposureText({ hosts, paths, auth }: ServicePolicy['expose'][number]): string {
  const credentials = auth === 'required' ? 'with credentials' : 'without credentials';
  return `${hosts.join(', ')} ${paths.map(({ text }) => text).join(', ')} ${credentials}`;
}
