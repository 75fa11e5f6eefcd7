import type { CeilingEntry, CellDocument } from '../cell-document.ts';
import { workloadText } from '../workload-name.ts';
import { added, type Change, changed, changedList, changedSet, removed } from './change.ts';

/** What differs of who the cell is, of its catalogue, and of the platform's ceiling. */
export function cellChanges(before: CellDocument, after: CellDocument): Change[] {
  return [
    ...changed('id', before.id, after.id),
    ...changed('trust domain', before.trustDomain, after.trustDomain),
    ...changed('domain', before.domain, after.domain),
    ...changed('token issuer', before.tokenIssuer, after.tokenIssuer),
    ...catalogueChanges(before, after),
    ...ceilingChanges(before, after),
  ];
}

function catalogueChanges({ scopes: before }: CellDocument, { scopes: after }: CellDocument): Change[] {
  const sentences = [...after].flatMap(([scope, { value }]) => {
    const was = before.get(scope);
    return was === undefined ? [] : changed(`scope ${scope}`, was.value, value, () => 'same');
  });
  // A scope that no manifest speaks of yet allows nothing.
  const names = changedList('scope', [...before.keys()].sort(), [...after.keys()].sort(), {
    added: 'same',
    removed: 'same',
  });
  return [...names, ...sentences];
}

/** Entries for the same calls are one, which allows what all of them do. */
function ceilingChanges(before: CellDocument, after: CellDocument): Change[] {
  const [old, now] = [ceilingsOf(before), ceilingsOf(after)];
  const whatOf = (edge: string) => `ceiling of ${edge}`;
  const textOf = (scopes: readonly string[]) => scopes.join(', ') || 'none';
  return [
    ...[...now].flatMap(([edge, scopes]) => {
      const was = old.get(edge);
      return was === undefined
        ? [added(whatOf(edge), textOf(scopes), 'narrower')]
        : changedSet(whatOf(edge), was, scopes);
    }),
    ...[...old]
      .filter(([edge]) => !now.has(edge))
      .map(([edge, scopes]) => removed(whatOf(edge), textOf(scopes), 'wider')),
  ];
}

function ceilingsOf({ ceiling }: CellDocument): ReadonlyMap<string, readonly string[]> {
  const byEdge = Map.groupBy(ceiling, ({ value: { from, to } }) => `${sideText(from)} -> ${sideText(to)}`);
  const common = (entries: typeof ceiling) =>
    entries.map(({ value }) => new Set<string>(value.scopes)).reduce((one, other) => one.intersection(other));
  return new Map([...byEdge].map(([edge, entries]) => [edge, [...common(entries)].sort()]));
}

function sideText(side: CeilingEntry['from']): string {
  return typeof side === 'string' ? side : workloadText(side);
}
