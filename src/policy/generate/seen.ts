import { pathOf, trustDomainOf, workloadOf } from '#certs/spiffe-id.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { parseScopeList, type Scope, type ScopeSet } from '#tokens/scope.ts';
import type { DecisionRecord } from '../decision-record.ts';
import { type Peer, unmeshed } from '../peer-pattern.ts';
import type { CellPolicies } from '../plan/cell-policies.ts';
import { replay } from '../replay.ts';
import type { SnapshotRule } from '../snapshot.ts';
import { PathTrie } from './path-trie.ts';

/** Requests of one caller to one route that were allowed for the same reason. */
export interface SeenRequests {
  readonly method: string;
  /** As a manifest names it: `namespace/service-account`, a SPIFFE ID, or `router`. */
  readonly peer: string;
  /** The rule that allows them today; absent where none does, or no manifests are known. */
  readonly rule: SnapshotRule | undefined;
  /** The name of that rule, or else of the one that allowed them then. */
  readonly ruleName: string | undefined;
  requests: number;
  withCustomer: number;
  /** With an account; a customer has one, as a rule. */
  withAccount: number;
  /** In common. */
  granted: ScopeSet;
  /** Of the rule's `anyScope`, those that were there. */
  readonly anyUsed: Set<Scope>;
}

type Route = Map<string, SeenRequests>;

/** What one service says and was asked. */
export interface SeenService {
  /** By port; 0 where records do not say. */
  readonly ports: Map<number, { readonly paths: PathTrie<Route>; readonly connections: Route }>;
}

/** Calls of one workload to another. */
export interface SeenCall {
  /** What of customers' scopes was left there. */
  readonly left: Set<Scope>;
  /** What the caller's sidecar sent along. */
  readonly sent: Set<Scope>;
  wasReceived: boolean;
}

const servicesMax = 10_000;
const callsMax = 100_000;

/** Gathers what was allowed, in memory that grows with services, callers and routes, not with requests. */
export class Seen {
  readonly #policies: CellPolicies | undefined;
  /** By `namespace/service-account`. */
  readonly services = new Map<string, SeenService>();
  /** By `caller callee`. */
  readonly calls = new Map<string, SeenCall>();
  readonly counts = { decisions: 0, allowed: 0, leftOut: 0 };
  since: string | undefined;
  until: string | undefined;

  /** @param policies today's, where they are known */
  constructor(policies: CellPolicies | undefined) {
    this.#policies = policies;
  }

  add(record: DecisionRecord): void {
    this.counts.decisions++;
    if (record.outcome !== 'permit' || record.service === undefined || record.direction === 'edge') return;
    const { time } = record;
    if (this.since === undefined || time < this.since) this.since = time;
    if (this.until === undefined || time > this.until) this.until = time;
    this.counts.allowed++;
    try {
      const isKept = record.direction === 'inbound' ? this.#received(record) : this.#sent(record);
      if (!isKept) this.counts.leftOut++;
    } catch (error) {
      if (!isCellmeshError(error)) throw error;
      this.counts.leftOut++;
    }
  }

  #received(record: DecisionRecord): boolean {
    const { peer, service, path, port = 0, method = '', left, claims } = record;
    const name = this.#nameOf(peer as Peer | undefined);
    const seen = this.#service(service!);
    if (name === undefined || seen === undefined) return false;
    let at = seen.ports.get(port);
    if (at === undefined) {
      at = { paths: new PathTrie<Route>(() => new Map(), joinRoutes), connections: new Map() };
      seen.ports.set(port, at);
    }
    const route = path === undefined ? at.connections : at.paths.at(path);
    if (route === undefined) return false;
    const rule = this.#ruleOf(record);
    const ruleName = rule?.name ?? record.rule;
    const key = `${method} ${name} ${rule === undefined} ${ruleName}`;
    const granted = parseScopeList(record.granted ?? '');
    const requests = route.get(key) ?? { method, peer: name, rule, ruleName, ...noRequests(granted) };
    route.set(key, requests);
    requests.requests++;
    if (claims !== undefined) requests.withCustomer++;
    if (record.account !== undefined) requests.withAccount++;
    requests.granted = requests.granted.intersect(granted);
    for (const scope of rule?.anyScope ?? []) if (granted.has(scope)) requests.anyUsed.add(scope);
    const call = name.includes(':') || name === 'router' ? undefined : this.#call(name, service!);
    if (call !== undefined) {
      call.wasReceived = true;
      for (const scope of parseScopeList(left ?? '')) call.left.add(scope);
    }
    return true;
  }

  #sent({ service, callee, granted, path, method }: DecisionRecord): boolean {
    if (callee === undefined || this.#service(service!) === undefined) return false;
    // What is said in a tunnel has records of its own.
    if (method === 'CONNECT' && path === undefined && granted === undefined) return true;
    if (this.#service(callee) === undefined) return false;
    const call = this.#call(service!, callee);
    for (const scope of parseScopeList(granted ?? '')) call?.sent.add(scope);
    return call !== undefined;
  }

  /** The rule that allows it by today's manifests: what they do not allow, or perhaps, has none. */
  #ruleOf(record: DecisionRecord): SnapshotRule | undefined {
    const policy = this.#policies?.inbound(record.service!);
    if (policy === undefined) return undefined;
    const replayed = replay(policy, record);
    return replayed.tag === 'allowed' ? policy.snapshot.rules.find(({ name }) => name === replayed.rule) : undefined;
  }

  /** Undefined: of another cell, which no manifest can name, or without TLS: whom to hear without proof is for people to say. */
  #nameOf(peer: Peer | undefined): string | undefined {
    if (peer === undefined || peer === unmeshed) return undefined;
    if (pathOf(peer).startsWith('/router/')) return 'router';
    const [snapshot] = this.#policies?.snapshots.values() ?? [];
    if (snapshot !== undefined && trustDomainOf(peer) !== snapshot.cell.trustDomain) return undefined;
    const workload = workloadOf(peer);
    return workload === undefined ? peer : `${workload.namespace}/${workload.serviceAccount}`;
  }

  #service(name: string): SeenService | undefined {
    return kept(this.services, name, servicesMax, () => ({ ports: new Map() }));
  }

  #call(from: string, to: string): SeenCall | undefined {
    return kept(this.calls, `${from} ${to}`, callsMax, () => ({
      left: new Set(),
      sent: new Set(),
      wasReceived: false,
    }));
  }
}

function kept<T>(map: Map<string, T>, key: string, max: number, make: () => T): T | undefined {
  const found = map.get(key);
  if (found !== undefined || map.size >= max) return found;
  const made = make();
  map.set(key, made);
  return made;
}

function noRequests(granted: ScopeSet) {
  return { requests: 0, withCustomer: 0, withAccount: 0, granted, anyUsed: new Set<Scope>() };
}

function joinRoutes(into: Route, from: Route): void {
  for (const [key, one] of from) {
    const other = into.get(key);
    if (other === undefined) {
      into.set(key, one);
      continue;
    }
    other.requests += one.requests;
    other.withCustomer += one.withCustomer;
    other.withAccount += one.withAccount;
    other.granted = other.granted.intersect(one.granted);
    for (const scope of one.anyUsed) other.anyUsed.add(scope);
  }
}
