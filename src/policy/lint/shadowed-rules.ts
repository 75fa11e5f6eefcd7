import { shadows } from '../rule-coverage.ts';
import type { PolicySnapshot, SnapshotRule } from '../snapshot.ts';
import type { Report, Subject } from './subject.ts';

/** Rules that could go without a difference. */
export function checkShadowedRules({ versions }: Subject, report: Report): void {
  for (const { policy, rules, snapshot } of versions) {
    const shadowed = shadowedRules(
      rules.map(({ compiled }) => compiled),
      snapshot,
    );
    for (const [narrow, broad] of shadowed) {
      const { value, at } = rules[narrow]!;
      const other = rules[broad]!;
      const where = `${other.value.name} (line ${other.at.line})`;
      report('rule-shadowed', policy, at, `rule ${value.name} is of no use: all that it allows ${where} allows`);
    }
  }
}

/**
 * Which rules are of no use, by their index, and beside which other; of two that say the same, the later one. All of them can go at
 * once: what shadows a rule and is itself shadowed by a third leaves both to that one.
 */
export function shadowedRules(
  rules: readonly SnapshotRule[],
  { callers, undeclared }: Pick<PolicySnapshot, 'callers' | 'undeclared'>,
): ReadonlyMap<number, number> {
  const known = new Set([...callers.map(({ id }) => id), ...undeclared]);
  const isKnown = (id: SnapshotRule['ids'][number]) => known.has(id);
  const shadowed = new Map<number, number>();
  for (const [at, rule] of rules.entries()) {
    const broad = rules.findIndex(
      (other, index) =>
        index !== at &&
        !shadowed.has(index) &&
        shadows(other, rule, isKnown) &&
        (index < at || !shadows(rule, other, isKnown)),
    );
    if (broad >= 0) shadowed.set(at, broad);
  }
  return shadowed;
}
