import type { AllowRule, ServicePolicy } from '../manifest.ts';
import type { PeerPattern } from '../peer-pattern.ts';
import type { Report } from './subject.ts';

/** Rules that mean more than their author may have thought of. */
export function checkBroadRules(policy: ServicePolicy, report: Report): void {
  for (const { value, at } of policy.allow) {
    if (value.from.some(({ kind }) => kind === 'any'))
      report('any', policy, at, `rule ${value.name} is for any workload that declares the call`);
    for (const peer of value.from)
      if (isOfEveryNamespace(peer))
        report('peers-broad', policy, at, `rule ${value.name}: ${peer.pattern.text} means every namespace`);
    if (isForEveryPath(value) && !isOpaque(value, policy) && asksNothing(value))
      report(
        'paths-broad',
        policy,
        at,
        `rule ${value.name} is for every path, and needs no scope, no claim and no actor`,
      );
  }
}

/** `spiffe://td/ns/<namespace>/…`: the namespace is the sixth part. */
const namespaceAt = 4;

function isOfEveryNamespace(peer: PeerPattern): peer is PeerPattern & { readonly kind: 'pattern' } {
  if (peer.kind !== 'pattern') return false;
  const { segments, matchesRest } = peer.pattern;
  return segments[namespaceAt] === '*' || (matchesRest && segments.length <= namespaceAt);
}

function isForEveryPath({ paths }: AllowRule): boolean {
  return paths === undefined || paths.some(({ text }) => text === '/**');
}

function asksNothing({ scopes, anyScope, claims, actor }: AllowRule): boolean {
  return scopes.length === 0 && anyScope === undefined && claims.length === 0 && actor === undefined;
}

/** A connection has no paths. */
function isOpaque({ port }: AllowRule, { ports }: ServicePolicy): boolean {
  return ports.filter((one) => port === undefined || one.port === port).every(({ protocol }) => protocol === 'tcp');
}
