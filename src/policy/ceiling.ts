import { type Scope, ScopeSet } from '#tokens/scope.ts';
import type { CeilingEntry, CellDocument } from './cell-document.ts';
import type { Located } from './shapes.ts';
import type { WorkloadName } from './workload-name.ts';

/** The entries of `Cell.spec.ceiling` that are about calls of one service, or of routers, to another. */
export function ceilingsOf(
  { ceiling }: CellDocument,
  from: WorkloadName | 'router',
  to: WorkloadName,
): readonly Located<CeilingEntry>[] {
  return ceiling.filter(({ value }) => means(value.from, from) && means(value.to, to));
}

/** What is left of `scopes` (absent: all there are) below every one of `ceilings`; absent: all. */
export function below<T extends readonly Scope[] | undefined>(
  scopes: T,
  ceilings: readonly Located<CeilingEntry>[],
): T | readonly Scope[] {
  let left: readonly Scope[] | undefined = scopes;
  for (const { value } of ceilings) {
    const allowed = ScopeSet.of(value.scopes);
    left = left === undefined ? value.scopes : left.filter((scope) => allowed.has(scope));
  }
  return left as T | readonly Scope[];
}

/** `any` means every service, and not routers. */
function means(entry: WorkloadName | 'router' | 'any', workload: WorkloadName | 'router'): boolean {
  if (entry === 'router' || workload === 'router') return entry === workload;
  if (entry === 'any') return true;
  const { namespace, serviceAccount } = entry;
  return namespace === workload.namespace && (serviceAccount === '*' || serviceAccount === workload.serviceAccount);
}
