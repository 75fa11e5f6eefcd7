import type { Scope } from '#tokens/scope.ts';
import { below, ceilingsOf } from '../ceiling.ts';
import { workloadText } from '../workload-name.ts';
import type { Report, Subject } from './subject.ts';

/** What `Cell.spec.ceiling` took away, call by call. */
export function checkCeilingCuts({ cell, policies, reachable, idOf }: Subject, report: Report): void {
  for (const policy of policies.filter(({ rollout }) => rollout === undefined)) {
    for (const { value, at } of policy.calls) {
      const ceilings = ceilingsOf(cell, policy, value.to);
      const edge = `${workloadText(policy)} -> ${workloadText(value.to)}`;
      const cut = (scopes: readonly Scope[]) => missing(scopes, below(scopes, ceilings));
      for (const field of ['carry', 'own'] as const) {
        const lost = cut(value[field] ?? []);
        if (lost.length > 0)
          report('ceiling-cuts', policy, at, `${edge}: the ceiling takes ${lost.join(', ')} out of \`${field}\``);
      }
      const lost =
        value.carry === undefined && value.token === 'propagate'
          ? cut([...(reachable.heldAt(idOf(policy)) ?? [])])
          : [];
      if (lost.length > 0)
        report(
          'ceiling-narrows',
          policy,
          at,
          `${edge}: the ceiling keeps ${lost.join(', ')} back, and \`carry\` is not written out`,
        );
    }
    const lost = missing([...cell.scopes.keys()], below([...cell.scopes.keys()], ceilingsOf(cell, 'router', policy)));
    if (policy.expose.length > 0 && lost.length > 0)
      report(
        'ceiling-narrows',
        policy,
        policy.at,
        `router -> ${workloadText(policy)}: the ceiling keeps ${lost.join(', ')} back`,
      );
  }
}

function missing(scopes: readonly Scope[], left: readonly Scope[]): readonly Scope[] {
  return scopes.filter((scope) => !left.includes(scope));
}
