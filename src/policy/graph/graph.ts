import { ScopeSet } from '#tokens/scope.ts';
import type { CellDocument } from '../cell-document.ts';
import { type CompiledCell, compileCell } from '../compile.ts';
import type { ServicePolicy } from '../manifest.ts';
import { unmeshed } from '../peer-pattern.ts';
import { type Arrival, arrivalAt, canMeet, isFor, ReachableScopes } from '../reachable-scopes.ts';
import type { PolicySnapshot, SnapshotRule } from '../snapshot.ts';
import { peerName, workloadName } from '../workload-name.ts';

/** Who may call whom, and with what. */
export interface PolicyGraph {
  readonly services: readonly GraphService[];
  readonly edges: readonly GraphEdge[];
}

interface GraphService {
  /** `namespace/service-account`. */
  readonly name: string;
  /** Absent: it has no manifest. */
  readonly mode?: 'audit' | 'enforce';
}

export interface GraphEdge {
  /** `namespace/service-account`, `router`, or `unmeshed`: callers without TLS. */
  readonly from: string;
  readonly to: string;
  /**
   * Why nothing goes over it: the caller's manifest does not declare the `call` (of routers: nothing is exposed; without TLS: `inbound` is strict), no `rule` of the
   * callee is for the caller, or the `scopes` that arrive are not enough for one.
   */
  readonly missing?: 'call' | 'rule' | 'scopes';
  /** Rules of the callee that can be met, in the order of its manifest. */
  readonly rules: readonly string[];
  /** What these rules ask of a customer's scopes. */
  readonly scopes: readonly string[];
  /** Of the caller's own scopes. */
  readonly own: readonly string[];
}

/**
 * Both sides of every edge of the version in force.
 * @throws CellmeshError `document_invalid`
 */
export function graphOf(cell: CellDocument, policies: readonly ServicePolicy[]): PolicyGraph {
  const compiled = compileCell(cell, policies);
  const reachable = new ReachableScopes(cell, compiled);
  const snapshots = [...compiled.snapshots.values()];
  const edges = snapshots.flatMap((snapshot) => edgesTo(snapshot, reachable, compiled));
  const services = snapshots.map(({ service, mode }): GraphService => ({ name: service.name, mode }));
  const known = new Set<string>([...parties, ...services.map(({ name }) => name)]);
  const others = [...new Set(edges.map(({ from }) => from))].filter((name) => !known.has(name));
  return { services: [...services, ...others.map((name) => ({ name }))], edges };
}

/** What of a graph is about one service: its calls and its callers. */
export function narrowedTo({ services, edges }: PolicyGraph, service: string): PolicyGraph {
  const left = edges.filter(({ from, to }) => from === service || to === service);
  const named = new Set([service, ...left.flatMap(({ from, to }) => [from, to])]);
  return { services: services.filter(({ name }) => named.has(name)), edges: left };
}

/** Callers that are no services. */
export const parties = ['router', unmeshed] as const;

type Met = readonly (readonly [SnapshotRule, Arrival])[];

function edgesTo(snapshot: PolicySnapshot, reachable: ReachableScopes, { snapshots }: CompiledCell): GraphEdge[] {
  const { rules, callers, undeclared, service, plaintextUntilMs, cell } = snapshot;
  const edge = (from: string, meant: Met, isDeclared: boolean): GraphEdge => {
    const met = isDeclared ? meant.filter(([rule, arrival]) => canMeet(rule, arrival)) : [];
    const missing = !isDeclared ? 'call' : meant.length === 0 ? 'rule' : met.length === 0 ? 'scopes' : undefined;
    return {
      from,
      to: service.name,
      ...(missing && { missing }),
      rules: met.map(([{ name }]) => name),
      ...neededOf(met),
    };
  };
  const ofRouters = rules
    .filter((rule) => rule.isRouterAllowed)
    .map((rule) => [rule, reachable.ofRouters(snapshot, rule)] as const);
  const ofUnmeshed = rules
    .filter((rule) => rule.isUnmeshedAllowed)
    .map((rule) => [rule, { own: ScopeSet.empty }] as const);
  const isExposed = ofRouters.some(([, { customer, own }]) => customer !== undefined || own !== undefined);
  const declared = callers.map((caller) => {
    const arrival = reachable.ofCall(caller, service.id);
    const meant = rules.filter((rule) => isFor(rule, caller.id));
    return edge(
      workloadName(caller.id),
      meant.map((rule) => [rule, arrivalAt(rule, snapshot, arrival)] as const),
      true,
    );
  });
  // A workload without a manifest brings no customer and has no scopes, and may call where it is named.
  const free = [...new Set(rules.flatMap(({ ids }) => ids))].filter((id) => !snapshots.has(id));
  return [
    ...(ofRouters.length > 0 ? [edge('router', ofRouters, isExposed)] : []),
    ...(ofUnmeshed.length > 0 ? [edge(unmeshed, ofUnmeshed, plaintextUntilMs !== undefined)] : []),
    ...declared,
    ...undeclared.map((id) => edge(workloadName(id), [], false)),
    ...free.map((id) =>
      edge(
        peerName(id, cell.trustDomain),
        rules.filter(({ ids }) => ids.includes(id)).map((rule) => [rule, { own: ScopeSet.empty }] as const),
        true,
      ),
    ),
  ];
}

function neededOf(met: Met): Pick<GraphEdge, 'scopes' | 'own'> {
  const wanted = ({ scopes, anyScope = [] }: SnapshotRule) => [...scopes, ...anyScope];
  const among = (kind: keyof Arrival) =>
    met.flatMap(([rule, { [kind]: arriving }]) => {
      const isMet = arriving !== undefined && canMeet(rule, { [kind]: arriving });
      return isMet ? wanted(rule).filter((scope) => arriving.has(scope)) : [];
    });
  return { scopes: [...ScopeSet.of(among('customer'))], own: [...ScopeSet.of(among('own'))] };
}
