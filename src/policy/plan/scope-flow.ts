import type { SpiffeId } from '#certs/spiffe-id.ts';
import { type Scope, ScopeSet } from '#tokens/scope.ts';
import { recordedScopes } from '../replay.ts';
import type { PolicySnapshot } from '../snapshot.ts';
import type { CellPolicies } from './cell-policies.ts';

type Scopes = ReadonlySet<Scope>;

interface Edge {
  /** Absent: a router, or a workload without a manifest. */
  readonly from: SpiffeId | undefined;
  readonly carry: Scopes;
  /** Of a router all that may come along does; what a workload without a manifest brings is for itself to say. */
  readonly isCertain: boolean;
}

const none: Scopes = new Set();

/** Which scopes of customers can be at a service, and which are if the customer has them, whatever way a request came. */
class ScopeFlow {
  readonly #policies: CellPolicies;
  readonly universe: Scopes;
  readonly edges: ReadonlyMap<SpiffeId, readonly Edge[]>;
  readonly reach: ReadonlyMap<SpiffeId, Scopes>;
  readonly must: ReadonlyMap<SpiffeId, Scopes>;

  constructor(policies: CellPolicies, universe: Scopes) {
    this.#policies = policies;
    this.universe = universe;
    this.edges = new Map([...policies.snapshots].map(([id, snapshot]) => [id, this.#edgesTo(snapshot)]));
    this.reach = fixpoint(this.edges, none, (edges, at) =>
      union(edges.map(({ from, carry }) => (from === undefined ? carry : carry.intersection(at(from))))),
    );
    this.must = fixpoint(this.edges, universe, (edges, at) =>
      edges.reduce<Scopes>((left, { from, carry, isCertain }) => {
        const certain = isCertain ? carry : none;
        return left.intersection(from === undefined ? certain : certain.intersection(at(from)));
      }, universe),
    );
  }

  #edgesTo({ service, callers, rules, routerCarry }: PolicySnapshot): Edge[] {
    const { snapshots } = this.#policies;
    const edges = callers.map(({ id, carry }): Edge => {
      const isWithout = this.#policies.call(id, service.id)?.token === 'none';
      return { from: id, carry: isWithout ? none : this.#withinUniverse(carry), isCertain: true };
    });
    if (rules.some(({ isRouterAllowed }) => isRouterAllowed))
      edges.push({ from: undefined, carry: this.#withinUniverse(routerCarry), isCertain: true });
    if (rules.some(({ ids }) => ids.some((id) => !snapshots.has(id))))
      edges.push({ from: undefined, carry: this.universe, isCertain: false });
    return edges;
  }

  #withinUniverse(carry: readonly Scope[] | undefined): Scopes {
    return carry === undefined ? this.universe : this.universe.intersection(new Set(carry));
  }
}

/** What the hop before would say now, where it said something else: at least, and at most. */
interface LeftBounds {
  readonly least: ScopeSet;
  readonly most: ScopeSet;
  /** Those between the two, with spaces between them. */
  readonly open: string;
}

/** Many records have the same word of the hop before and the same scopes in their token. */
const boundsMax = 10_000;

/**
 * How the scopes that customers bring to each service change from one set of manifests to another. A record has what was left at one hop, and not
 * the hops before it; what these would do now follows from the manifests of both versions.
 *
 * - Lost on every way that leads to the caller: certainly not left. Lost on one of several: perhaps.
 * - Gained on a way to the caller: perhaps left, if the token has it; gained on every way: certainly.
 * - Without the version of then (`before`), a scope that can come to the caller may be one that it gained, and none counts as lost but those
 *   that cannot come at all any more.
 *
 * Ways that the new manifests close do not count: their requests are refused where they are closed, and reported there.
 */
export class FlowChange {
  readonly #before: ScopeFlow | undefined;
  readonly #after: ScopeFlow;
  readonly #lost: ReadonlyMap<SpiffeId, Scopes>;
  readonly #gained: ReadonlyMap<SpiffeId, Scopes>;

  readonly #bounds = new Map<string, LeftBounds>();
  readonly #same = new Map<string, boolean>();

  constructor(before: CellPolicies | undefined, after: CellPolicies) {
    const universe = scopesOfRules(after);
    this.#after = new ScopeFlow(after, universe);
    this.#before = before && new ScopeFlow(before, universe);
    this.#lost = this.#spread((edge, old, at) => {
      const via = edge.from === undefined ? old.carry : old.carry.intersection(this.#reachBefore(edge.from));
      return via.difference(edge.carry).union(at.intersection(via));
    });
    this.#gained = this.#spread((edge, old, at) => {
      const via = edge.from === undefined ? edge.carry : edge.carry.intersection(this.#reachAfter(edge.from));
      return via.difference(old.carry).union(at.intersection(via));
    });
  }

  /** Whether nothing was lost or gained on the ways to a call; what the call itself carries less is in the manifest of whoever is called. */
  isSame(from: SpiffeId, to: SpiffeId): boolean {
    if (this.#before === undefined) return false;
    const key = `${from} ${to}`;
    let same = this.#same.get(key);
    if (same === undefined) {
      same = (this.#lost.get(from) ?? none).size === 0 && this.#gainedAlong(from, to).size === 0;
      if (this.#same.size >= boundsMax) this.#same.clear();
      this.#same.set(key, same);
    }
    return same;
  }

  /**
   * @param left what the caller's sidecar said was left
   * @param token all scopes of the token
   * @throws CellmeshError `scope_invalid`
   */
  boundsOf(from: SpiffeId, to: SpiffeId, left: string, token: string): LeftBounds {
    const key = `${from} ${to} ${left},${token}`;
    let bounds = this.#bounds.get(key);
    if (bounds === undefined) {
      bounds = this.#findBounds(from, to, new Set(recordedScopes(left)), new Set(recordedScopes(token)));
      if (this.#bounds.size >= boundsMax) this.#bounds.clear();
      this.#bounds.set(key, bounds);
    }
    return bounds;
  }

  #findBounds(from: SpiffeId, to: SpiffeId, said: Scopes, token: Scopes): LeftBounds {
    if (!this.#after.edges.has(from)) return boundsBetween(said, said);
    const lost = this.#before === undefined ? none : (this.#lost.get(from) ?? none);
    const reach = this.#reachAfter(from);
    // What no rule asks for is no loss.
    const gone = (this.#before === undefined ? said.intersection(this.#after.universe) : lost).difference(reach);
    const gained = this.#gainedAlong(from, to).intersection(token);
    const certain = gained.intersection(this.#after.must.get(from) ?? none);
    return boundsBetween(said.difference(lost).difference(gone).union(certain), said.difference(gone).union(gained));
  }

  #gainedAlong(from: SpiffeId, to: SpiffeId): Scopes {
    const edge = this.#edge(this.#after, from, to);
    if (edge === undefined) return none;
    const via = edge.carry.intersection(this.#reachAfter(from));
    const old = this.#before && this.#edge(this.#before, from, to);
    return old === undefined
      ? via
      : via.difference(old.carry).union((this.#gained.get(from) ?? none).intersection(via));
  }

  #edge(flow: ScopeFlow, from: SpiffeId | undefined, to: SpiffeId): Edge | undefined {
    return flow.edges.get(to)?.find((edge) => edge.from === from && (from !== undefined || edge.isCertain));
  }

  #reachAfter(id: SpiffeId): Scopes {
    return this.#after.reach.get(id) ?? none;
  }

  #reachBefore(id: SpiffeId): Scopes {
    return this.#before?.reach.get(id) ?? none;
  }

  /** Along the edges that both versions have. `at`: what was found at its beginning. */
  #spread(along: (edge: Edge, old: Edge, at: Scopes) => Scopes): ReadonlyMap<SpiffeId, Scopes> {
    const before = this.#before;
    if (before === undefined) return new Map();
    const pairs = new Map(
      [...this.#after.edges].map(([to, edges]) => [
        to,
        edges.flatMap((edge) => {
          const old = this.#edge(before, edge.from, to);
          return old === undefined ? [] : [{ edge, old }];
        }),
      ]),
    );
    return fixpoint(pairs, none, (edges, at) =>
      union(edges.map(({ edge, old }) => along(edge, old, edge.from === undefined ? none : at(edge.from)))),
    );
  }
}

function boundsBetween(least: Scopes, most: Scopes): LeftBounds {
  const open = ScopeSet.of(most.difference(least)).text;
  return { least: ScopeSet.of(least), most: ScopeSet.of(most), open };
}

/** Those that a rule could ask for: the others change nothing. */
function scopesOfRules({ snapshots }: CellPolicies): Scopes {
  const rules = [...snapshots.values()].flatMap(({ rules, candidate }) => [...rules, ...(candidate?.rules ?? [])]);
  return new Set(rules.flatMap(({ scopes, anyScope = [] }) => [...scopes, ...anyScope]));
}

/** From `start` on, each service by what leads to it, until nothing changes any more. */
function fixpoint<E>(
  edges: ReadonlyMap<SpiffeId, readonly E[]>,
  start: Scopes,
  next: (edges: readonly E[], at: (id: SpiffeId) => Scopes) => Scopes,
): ReadonlyMap<SpiffeId, Scopes> {
  const found = new Map<SpiffeId, Scopes>([...edges.keys()].map((id) => [id, start]));
  const at = (id: SpiffeId) => found.get(id) ?? none;
  for (let isChanging = true; isChanging; ) {
    isChanging = false;
    for (const [id, leading] of edges) {
      const scopes = next(leading, at);
      if (scopes.size === at(id).size) continue;
      found.set(id, scopes);
      isChanging = true;
    }
  }
  return found;
}

function union(sets: readonly Scopes[]): Scopes {
  return sets.reduce((all, one) => all.union(one), none);
}
