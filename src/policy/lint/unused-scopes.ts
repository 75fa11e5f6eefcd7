import type { Report, Subject } from './subject.ts';

/** Scopes of the catalogue that no manifest speaks of. */
export function checkUnusedScopes({ cell, policies }: Subject, report: Report): void {
  const used = new Set<unknown>(
    policies.flatMap(({ allow, calls }) => [
      ...allow.flatMap(({ value }) => [
        ...value.scopes,
        ...(value.anyScope ?? []),
        ...value.claims.flatMap(({ anyOf }) => anyOf ?? []),
      ]),
      ...calls.flatMap(({ value }) => [...(value.carry ?? []), ...value.own]),
    ]),
  );
  for (const [scope, { at }] of cell.scopes)
    if (!used.has(scope)) report('scope-unused', cell, at, `no manifest speaks of the scope ${scope}`);
}
