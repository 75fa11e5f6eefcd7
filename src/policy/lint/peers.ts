import { type TrustDomain, trustDomainOf } from '#certs/spiffe-id.ts';
import { matchesSegments, type PathPattern } from '../path-pattern.ts';
import { overlapsPattern } from '../pattern-relations.ts';
import { isFor } from '../reachable-scopes.ts';
import { peerName, workloadName } from '../workload-name.ts';
import type { Report, RuleSubject, Subject, VersionSubject } from './subject.ts';

/** Who is named by rules, and who declares calls: what only one of two sides says. */
export function checkPeers(subject: Subject, report: Report): void {
  for (const version of subject.versions)
    for (const rule of version.rules) {
      checkNamedPeers(rule, version, subject, report);
      checkMeantPeers(rule, version, report);
    }
  checkCalls(subject, report);
  checkExposures(subject, report);
}

function checkNamedPeers(
  { value, at, compiled }: RuleSubject,
  { policy, snapshot }: VersionSubject,
  subject: Subject,
  report: Report,
): void {
  const { cell } = subject;
  const isTrusted = (domain: TrustDomain) =>
    domain === cell.trustDomain || cell.federation.some(({ trustDomain }) => trustDomain === domain);
  for (const id of compiled.ids) {
    const peer = peerName(id, cell.trustDomain);
    if (!isTrusted(trustDomainOf(id)))
      report(
        'peer-untrusted',
        policy,
        at,
        `rule ${value.name}: nobody vouches for ${peer}: \`federation\` lacks its trust domain`,
      );
    else if (subject.policyOf(id) === undefined)
      report('peer-unknown', policy, at, `rule ${value.name}: ${peer} has no manifest`);
    else if (!snapshot.callers.some((caller) => caller.id === id))
      report('peer-undeclared', policy, at, `rule ${value.name}: the manifest of ${peer} does not declare this call`);
  }
}

function checkMeantPeers(
  { value, at, compiled }: RuleSubject,
  { policy, snapshot }: VersionSubject,
  report: Report,
): void {
  if (compiled.isAnyAllowed && snapshot.callers.length === 0)
    report('peers-none', policy, at, `rule ${value.name}: no service declares this call, so \`any\` means none`);
  for (const pattern of compiled.idPatterns)
    if (!snapshot.callers.some(({ id }) => matchesSegments(pattern, id, 0)))
      report(
        'peers-none',
        policy,
        at,
        `rule ${value.name}: no service that declares this call matches ${pattern.text}`,
      );
}

function checkCalls({ policies, compiled, idOf }: Subject, report: Report): void {
  for (const policy of policies.filter(({ rollout }) => rollout === undefined)) {
    const id = idOf(policy);
    for (const { value, at } of policy.calls) {
      const callee = idOf(value.to);
      const { rules, candidate } = compiled.snapshots.get(callee)!;
      if ([...rules, ...(candidate?.rules ?? [])].some((rule) => isFor(rule, id))) continue;
      report('call-not-allowed', policy, at, `no rule of ${workloadName(callee)} is for ${workloadName(id)}`);
    }
  }
}

function checkExposures({ policies, compiled, idOf }: Subject, report: Report): void {
  for (const policy of policies) {
    if (policy.rollout !== undefined) continue;
    const { rules, candidate, service } = compiled.snapshots.get(idOf(policy))!;
    const ofRouters = [...rules, ...(candidate?.rules ?? [])].filter(
      ({ isRouterAllowed, port }) => isRouterAllowed && (port === undefined || port === service.ports[0]!.port),
    );
    const isAllowed = (path: PathPattern) =>
      ofRouters.some(({ paths }) => paths === undefined || paths.some((other) => overlapsPattern(path, other)));
    for (const path of policy.expose.flatMap(({ paths }) => paths))
      if (!isAllowed(path))
        report(
          'exposure-not-allowed',
          policy,
          policy.at,
          `${path.text} is exposed, and no rule allows routers anything there`,
        );
  }
}
