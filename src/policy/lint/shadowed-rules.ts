import type { CanonicalPath } from '../canonical-path.ts';
import { PathTree } from '../path-tree.ts';
import { unmeshed } from '../peer-pattern.ts';
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
  const others = new RulesByRoute(rules);
  const shadowed = new Map<number, number>();
  for (const [at, rule] of rules.entries()) {
    const broad = others.thatMayCover(rule).find((index) => {
      const other = rules[index]!;
      if (index === at || shadowed.has(index) || !shadows(other, rule, isKnown)) return false;
      return index < at || !shadows(rule, other, isKnown);
    });
    if (broad !== undefined) shadowed.set(at, broad);
  }
  return shadowed;
}

/** Indices of rules by their paths and by their peers: of ten thousand rules few are about the same ones. */
class RulesByRoute {
  readonly #byPath = new PathTree<number[]>(() => []);
  readonly #ofEveryPath: number[] = [];
  readonly #byPeer: Map<string, number[]>;

  constructor(rules: readonly SnapshotRule[]) {
    for (const [at, { paths }] of rules.entries()) {
      if (paths === undefined) this.#ofEveryPath.push(at);
      for (const path of new Set(paths)) this.#byPath.at(path).push(at);
    }
    const named = rules.flatMap((rule, at) => peersOf(rule).map((peer) => ({ peer, at })));
    this.#byPeer = new Map(
      [...Map.groupBy(named, ({ peer }) => peer)].map(([peer, some]) => [peer, some.map(({ at }) => at)]),
    );
  }

  /** In the order of the manifest. */
  thatMayCover(rule: SnapshotRule): readonly number[] {
    const [peer = several] = peersOf(rule);
    const ofPeer = this.#byPeer.get(peer) ?? [];
    const ofSeveral = this.#byPeer.get(several) ?? [];
    const found = ofPeer.length + ofSeveral.length <= fewPeers ? [...ofPeer, ...ofSeveral] : this.#ofPath(rule);
    return [...new Set(found)].sort((one, other) => one - other);
  }

  #ofPath({ paths }: SnapshotRule): readonly number[] {
    if (paths === undefined) return this.#ofEveryPath;
    const found: number[][] = [];
    // What covers a pattern matches its text, in which `*` and `**` are segments like others.
    this.#byPath.find(paths[0]!.text as CanonicalPath, found, 0);
    return [...this.#ofEveryPath, ...found.flat()];
  }
}

/** So many are tried without looking at paths. */
const fewPeers = 64;
/** Those of `any` and of patterns. */
const several = '*';

/** Each of whom whatever covers the rule has to mean. */
function peersOf({
  ids,
  idPatterns,
  isAnyAllowed,
  isRouterAllowed,
  isUnmeshedAllowed,
}: SnapshotRule): readonly string[] {
  const words = [...(isRouterAllowed ? ['router'] : []), ...(isUnmeshedAllowed ? [unmeshed] : [])];
  const named = [...new Set<string>(ids), ...words];
  return isAnyAllowed || idPatterns.length > 0 || named.length === 0 ? [...named, several] : named;
}
