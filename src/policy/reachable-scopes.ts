import type { SpiffeId } from '#certs/spiffe-id.ts';
import { type Scope, ScopeSet } from '#tokens/scope.ts';
import type { CellDocument } from './cell-document.ts';
import type { CompiledCell } from './compile.ts';
import { matchesSegments } from './path-pattern.ts';
import { overlapsPattern } from './pattern-relations.ts';
import type { Route } from './routes.ts';
import type { PolicySnapshot, SnapshotCaller, SnapshotRule } from './snapshot.ts';

/** What a call can bring at most; absent is a call that is never made that way. */
export interface Arrival {
  /** The scopes with a customer. */
  readonly customer?: ScopeSet;
  /** The scopes without one. */
  readonly own?: ScopeSet;
}

/**
 * The largest set of a customer's scopes that can come to each service: from routers with the whole catalogue, through the rules on
 * the way, below every `carry` and the ceiling. Ways are joined: a rule that needs one scope of each of two ways is taken for one that
 * can be met.
 */
export class ReachableScopes {
  readonly #catalogue: ScopeSet;
  readonly #exposures: ReadonlyMap<SpiffeId, readonly Route[]>;
  /** Services that no customer comes to are not in it. */
  readonly #held = new Map<SpiffeId, ScopeSet>();
  readonly #carriesCustomers: ReadonlySet<string>;

  constructor(cell: CellDocument, { snapshots, routes }: Pick<CompiledCell, 'snapshots' | 'routes'>) {
    this.#catalogue = ScopeSet.of(cell.scopes.keys());
    this.#exposures = Map.groupBy(routes.routes, ({ id }) => id);
    this.#carriesCustomers = new Set(
      [...snapshots.values()].flatMap(({ service, calls }) =>
        calls.filter(({ token }) => token === 'propagate').map(({ id }) => edge(service.id, id)),
      ),
    );
    let isGrowing = true;
    while (isGrowing) isGrowing = [...snapshots.values()].filter((snapshot) => this.#grow(snapshot)).length > 0;
  }

  /** What of a customer's scopes can be left at a service at most; undefined where no customer comes. */
  heldAt(service: SpiffeId): ScopeSet | undefined {
    return this.#held.get(service);
  }

  /** What a declared call can bring at most. */
  ofCall({ id, carry, own }: SnapshotCaller, to: SpiffeId): Arrival {
    const held = this.#carriesCustomers.has(edge(id, to)) ? this.#held.get(id) : undefined;
    const customer = held === undefined || carry === undefined ? held : held.intersect(ScopeSet.of(carry));
    return { ...(customer && { customer }), own: ScopeSet.of(own) };
  }

  /** What routers can bring to where a rule is for, by the `expose` entries that send there. */
  ofRouters(snapshot: PolicySnapshot, { port, paths }: SnapshotRule): Arrival {
    const { service } = snapshot;
    const isFirstPort = port === undefined || port === service.ports[0]!.port;
    const sending = (isFirstPort ? (this.#exposures.get(service.id) ?? []) : []).filter(
      (exposure) =>
        paths === undefined || paths.some((path) => exposure.paths.some((other) => overlapsPattern(path, other))),
    );
    return {
      ...(sending.some(({ auth }) => auth === 'required') && { customer: this.#ofRouters(snapshot) }),
      ...(sending.some(({ auth }) => auth === 'none') && { own: ScopeSet.empty }),
    };
  }

  #ofRouters({ routerCarry }: PolicySnapshot): ScopeSet {
    return routerCarry === undefined ? this.#catalogue : this.#catalogue.intersect(ScopeSet.of(routerCarry));
  }

  /** Adds what the calls to a service bring that its rules let in; whether that was anything new. */
  #grow(snapshot: PolicySnapshot): boolean {
    const { service, callers, mode } = snapshot;
    const before = this.#held.get(service.id);
    const coming = new Set<Scope>(before);
    let isReached = before !== undefined;
    const add = (customer: ScopeSet | undefined) => {
      if (customer === undefined) return;
      isReached = true;
      for (const scope of customer) coming.add(scope);
    };
    const rules = [...snapshot.rules, ...(snapshot.candidate?.rules ?? [])];
    for (const rule of rules.filter(({ isRouterAllowed }) => isRouterAllowed)) {
      const { customer } = this.ofRouters(snapshot, rule);
      if (customer !== undefined && meetsScopes(rule, customer)) add(customer);
    }
    const isAudit = mode === 'audit' || snapshot.candidate?.mode === 'audit';
    if (isAudit && this.#exposures.get(service.id)?.some(({ auth }) => auth === 'required'))
      add(this.#ofRouters(snapshot));
    for (const caller of callers) {
      const { customer } = this.ofCall(caller, service.id);
      const isLetIn = (rule: SnapshotRule) => isFor(rule, caller.id) && meetsScopes(rule, customer!);
      if (customer !== undefined && (isAudit || rules.some(isLetIn))) add(customer);
    }
    if (!isReached || (before !== undefined && coming.size === before.size)) return false;
    this.#held.set(service.id, ScopeSet.of(coming));
    return true;
  }
}

/** Whether a rule is for a workload that declares the call. */
export function isFor({ ids, idPatterns, isAnyAllowed }: SnapshotRule, id: SpiffeId): boolean {
  return isAnyAllowed || ids.includes(id) || idPatterns.some((pattern) => matchesSegments(pattern, id, 0));
}

/** What of a call comes to where a rule is for: a connection whose bytes nobody looks at brings no customer. */
export function arrivalAt({ port }: SnapshotRule, { service }: PolicySnapshot, arrival: Arrival): Arrival {
  const ports = service.ports.filter((one) => port === undefined || one.port === port);
  if (ports.some(({ protocol }) => protocol !== 'tcp')) return arrival;
  return { ...(arrival.own && { own: arrival.own }) };
}

/** Whether what arrives can ever be enough for a rule; what a token says beside its scopes is taken for granted. */
export function canMeet(rule: SnapshotRule, { customer, own }: Arrival): boolean {
  if (customer !== undefined && meetsScopes(rule, customer)) return true;
  const needsToken =
    rule.account === 'required' || rule.claims.length > 0 || (rule.actor !== undefined && rule.actor !== 'none');
  return own !== undefined && !needsToken && meetsScopes(rule, own);
}

function meetsScopes({ scopes, anyScope }: SnapshotRule, arriving: ScopeSet): boolean {
  return (
    scopes.every((scope) => arriving.has(scope)) &&
    (anyScope === undefined || anyScope.some((scope) => arriving.has(scope)))
  );
}

function edge(from: SpiffeId, to: SpiffeId): string {
  return `${from} ${to}`;
}
