import { trustDomainOf } from '#certs/spiffe-id.ts';
import { type Scope, ScopeSet } from '#tokens/scope.ts';
import { type Arrival, arrivalAt, canMeet, isFor } from '../reachable-scopes.ts';
import type { SnapshotRule } from '../snapshot.ts';
import { workloadName } from '../workload-name.ts';
import type { Report, RuleSubject, Subject, VersionSubject } from './subject.ts';

/** Whether what rules need can ever come: over each call, and to each rule. */
export function checkArrivingScopes(subject: Subject, report: Report): void {
  for (const version of subject.versions) for (const rule of version.rules) checkRule(rule, version, subject, report);
  checkCalls(subject, report);
}

function checkRule(rule: RuleSubject, { policy, snapshot }: VersionSubject, subject: Subject, report: Report): void {
  const { value, at, compiled } = rule;
  const arrivals = new Map<string, Arrival>();
  if (compiled.isRouterAllowed) {
    const arrival = subject.reachable.ofRouters(snapshot, compiled);
    if (arrival.customer === undefined && arrival.own === undefined)
      report(
        'router-never-sends',
        policy,
        at,
        `rule ${value.name} is for routers, and no \`expose\` sends there what it is about`,
      );
    else arrivals.set('router', arrival);
  }
  for (const caller of snapshot.callers)
    if (isFor(compiled, caller.id))
      arrivals.set(
        workloadName(caller.id),
        arrivalAt(compiled, snapshot, subject.reachable.ofCall(caller, snapshot.service.id)),
      );
  // Of a workload of others it is known: no customer, and no scope of its own.
  const foreign = compiled.ids.filter((id) => trustDomainOf(id) !== subject.cell.trustDomain);
  for (const id of foreign) arrivals.set(id, { own: ScopeSet.empty });
  // Nothing is known of what a workload without a manifest brings.
  if (arrivals.size === 0 || compiled.ids.some((id) => !foreign.includes(id) && subject.policyOf(id) === undefined))
    return;
  if ([...arrivals.values()].some((arrival) => canMeet(compiled, arrival))) return;
  const most = [...arrivals].map(([peer, arrival]) => `${peer} brings ${arrivalText(arrival)}`).join('; ');
  report('rule-unsatisfiable', policy, at, `rule ${value.name} needs ${needText(compiled)}, and at most ${most}`);
}

function checkCalls({ policies, compiled, reachable, idOf }: Subject, report: Report): void {
  for (const policy of policies.filter(({ rollout }) => rollout === undefined)) {
    const id = idOf(policy);
    const held = reachable.heldAt(id);
    for (const { value, at } of policy.calls) {
      const snapshot = compiled.snapshots.get(idOf(value.to))!;
      const callee = workloadName(snapshot.service.id);
      const arrival = reachable.ofCall(snapshot.callers.find((caller) => caller.id === id)!, snapshot.service.id);
      const rules = [...snapshot.rules, ...(snapshot.candidate?.rules ?? [])].filter((rule) => isFor(rule, id));
      if (rules.length > 0 && !rules.some((rule) => canMeet(rule, arrivalAt(rule, snapshot, arrival)))) {
        const needs = [...new Set(rules.map(needText))].join(', or ');
        report(
          'call-unsatisfiable',
          policy,
          at,
          `${callee} needs ${needs}, and the call brings at most ${arrivalText(arrival)}`,
        );
      }
      const never = (value.carry ?? []).filter((scope) => held?.has(scope) !== true);
      if (never.length > 0)
        report(
          'carry-never-held',
          policy,
          at,
          `the call to ${callee} carries ${never.join(', ')}, which never ${never.length === 1 ? 'comes' : 'come'} to ${workloadName(id)}`,
        );
    }
  }
}

function needText({ scopes, anyScope, account }: SnapshotRule): string {
  const needs: string[] = account === 'required' ? ['a customer'] : [];
  if (scopes.length > 0) needs.push(scopes.join(' and '));
  if (anyScope !== undefined) needs.push(anyScope.join(' or '));
  return needs.join(' with ') || 'a token';
}

function arrivalText({ customer, own }: Arrival): string {
  const scopesText = (scopes: ScopeSet): string => ([...scopes] as Scope[]).join(', ') || 'no scope';
  const ways = [
    customer && `${scopesText(customer)} of a customer`,
    own &&
      (own.size > 0
        ? `${scopesText(own)} of its own`
        : customer === undefined && 'no customer and no scope of its own'),
  ];
  return ways.filter((way) => way).join(' or ') || 'nothing';
}
