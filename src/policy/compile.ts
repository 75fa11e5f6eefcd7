import { createHash } from 'node:crypto';
import { type SpiffeId, workloadId } from '#certs/spiffe-id.ts';
import { serializeTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { documentInvalid, problemText } from '#runtime/yaml-document.ts';
import type { Scope } from '#tokens/scope.ts';
import { routesWith } from './call-traffic.ts';
import { below, ceilingsOf } from './ceiling.ts';
import type { CellDocument } from './cell-document.ts';
import { contradictions } from './contradictions.ts';
import { type AllowRule, type DeclaredCall, hostsIn, type Rollout, type ServicePolicy } from './manifest.ts';
import type { RoutesDocument } from './routes.ts';
import type { RouteMatch } from './rule-conditions.ts';
import type { PolicySnapshot, SnapshotCall, SnapshotCaller, SnapshotCandidate, SnapshotRule } from './snapshot.ts';
import { type WorkloadName, workloadText } from './workload-name.ts';

/** Everything a control plane hands out, from one set of manifests. */
export interface CompiledCell {
  readonly version: string;
  /** By the SPIFFE ID of the service. */
  readonly snapshots: ReadonlyMap<SpiffeId, PolicySnapshot>;
  readonly routes: RoutesDocument;
  readonly candidates: readonly CompiledCandidate[];
  /** Trust domains of others, workloads of which rules may name. */
  readonly federation: readonly TrustBundle[];
}

/** A version that is tried beside the one in force. */
export interface CompiledCandidate extends Rollout {
  readonly version: string;
  /** Of the service. */
  readonly id: SpiffeId;
  /** `namespace/service-account`. */
  readonly service: string;
  /** Whether the version beside it refuses what no rule allows: only then is there something to return to. */
  readonly isBesideEnforced: boolean;
}

/**
 * Joins the cell's document and all its manifests: both sides of every edge meet here, once, and each service's sidecar gets what
 * it needs and nothing else.
 * @throws CellmeshError `document_invalid` with every contradiction between manifests, by file and position
 */
export function compileCell(cell: CellDocument, policies: readonly ServicePolicy[]): CompiledCell {
  const problems = contradictions(cell, policies);
  if (problems.length > 0) throw documentInvalid(problems.map(problemText));
  return new Compilation(cell, policies).run();
}

class Compilation {
  readonly #cell: CellDocument;
  readonly #version: string;
  readonly #inForce: readonly ServicePolicy[];
  readonly #byService: ReadonlyMap<string, ServicePolicy>;
  /** Ids of `#inForce`. */
  readonly #withManifest: ReadonlySet<SpiffeId>;
  /** By `namespace/service-account`: each is made, and checked, once. */
  readonly #ids = new Map<string, SpiffeId>();
  readonly #candidates: ReadonlyMap<string, ServicePolicy>;
  readonly #callers: ReadonlyMap<string, readonly { readonly caller: ServicePolicy; readonly call: DeclaredCall }[]>;

  constructor(cell: CellDocument, policies: readonly ServicePolicy[]) {
    this.#cell = cell;
    this.#version = versionOf(cell, policies);
    this.#inForce = policies.filter(({ rollout }) => rollout === undefined);
    this.#withManifest = new Set(this.#inForce.map((policy) => this.#idOf(policy)));
    const byText = (some: readonly ServicePolicy[]) => new Map(some.map((policy) => [workloadText(policy), policy]));
    this.#byService = byText(this.#inForce);
    this.#candidates = byText(policies.filter(({ rollout }) => rollout !== undefined));
    const edges = this.#inForce.flatMap((caller) => caller.calls.map(({ value }) => ({ caller, call: value })));
    this.#callers = Map.groupBy(edges, ({ call }) => workloadText(call.to));
  }

  run(): CompiledCell {
    const snapshots = new Map(this.#inForce.map((policy) => [this.#idOf(policy), this.#service(policy)]));
    const candidates = [...this.#candidates.values()].map((policy): CompiledCandidate => {
      const id = this.#idOf(policy);
      const { mode, candidate } = snapshots.get(id)!;
      const service = workloadText(policy);
      return { ...policy.rollout!, version: candidate!.version, id, service, isBesideEnforced: mode === 'enforce' };
    });
    const { federation } = this.#cell;
    return { version: this.#version, snapshots, routes: this.#routes(), candidates, federation };
  }

  #service(policy: ServicePolicy): PolicySnapshot {
    const { id, trustDomain, domain, tokenIssuer } = this.#cell;
    const self = workloadText(policy);
    const callers = (this.#callers.get(self) ?? []).map(({ caller, call }): SnapshotCaller => {
      return { id: this.#idOf(caller), ...this.#carryAndOwn(caller, call) };
    });
    const rules = policy.allow.map(({ value }) => this.#rule(value));
    const candidate = this.#candidateOf(self);
    const declaring = new Set(callers.map((caller) => caller.id));
    const named = new Set([...rules, ...(candidate?.rules ?? [])].flatMap(({ ids }) => ids));
    const routerCarry = below(undefined, ceilingsOf(this.#cell, 'router', policy));
    return {
      version: this.#version,
      cell: { id, trustDomain, domain, tokenIssuer },
      service: {
        id: this.#idOf(policy),
        name: self,
        hosts: hostsIn(policy, policy.namespace),
        ports: policy.ports,
      },
      mode: policy.mode,
      ...(policy.plaintextUntilMs !== undefined && { plaintextUntilMs: policy.plaintextUntilMs }),
      rules,
      ...(candidate && { candidate }),
      ...(routerCarry && { routerCarry }),
      callers,
      undeclared: [...named].filter((peer) => this.#withManifest.has(peer) && !declaring.has(peer)),
      calls: policy.calls.map(({ value }) => this.#call(policy, value)),
    };
  }

  #candidateOf(service: string): SnapshotCandidate | undefined {
    const policy = this.#candidates.get(service);
    if (policy === undefined) return undefined;
    const { mode, rollout } = policy;
    const rules = policy.allow.map(({ value }) => this.#rule(value));
    return { version: digestOf([service, mode, policy.allow]), mode, percent: rollout!.percent, rules };
  }

  #rule({ from, isGrpc: _isGrpc, ...rule }: AllowRule): SnapshotRule {
    return {
      ...rule,
      ids: from.flatMap((peer) => {
        if (peer.kind === 'workload') return [this.#idOf(peer.workload)];
        return peer.kind === 'id' ? [peer.id] : [];
      }),
      idPatterns: from.flatMap((peer) => (peer.kind === 'pattern' ? [peer.pattern] : [])),
      isRouterAllowed: from.some(({ kind }) => kind === 'router'),
      isAnyAllowed: from.some(({ kind }) => kind === 'any'),
      isUnmeshedAllowed: from.some(({ kind }) => kind === 'unmeshed'),
    };
  }

  #call(caller: ServicePolicy, call: DeclaredCall): SnapshotCall {
    const callee = this.#byService.get(workloadText(call.to))!;
    const { defaults = { timeouts: {} } } = this.#cell;
    const { connectMs = defaults.connectMs } = call;
    return {
      id: this.#idOf(callee),
      ...this.#carryAndOwn(caller, call),
      name: workloadText(callee),
      hosts: hostsIn(callee, caller.namespace),
      ports: callee.ports,
      ...(call.listen === undefined ? {} : { listen: call.listen }),
      token: call.token,
      ...(connectMs === undefined ? {} : { connectMs }),
      routes: routesWith(defaults, call.routes),
      sensitive: callee.allow.filter(({ value }) => value.sensitive).map(({ value }) => matchOf(value)),
    };
  }

  #routes(): RoutesDocument {
    const routes = this.#inForce.flatMap((policy) =>
      policy.expose.map((exposure) => ({
        ...exposure,
        service: workloadText(policy),
        id: this.#idOf(policy),
        authority: `${hostsIn(policy, undefined)[0]!}:${policy.ports[0]!.port}`,
      })),
    );
    return { version: this.#version, cellId: this.#cell.id, routes };
  }

  /** What a caller may bring to a callee, below what the platform allows at most. */
  #carryAndOwn(caller: WorkloadName, { to, carry, own }: DeclaredCall): Pick<SnapshotCaller, 'carry' | 'own'> {
    const ceilings = ceilingsOf(this.#cell, caller, to);
    const carried: readonly Scope[] | undefined = below(carry, ceilings);
    return { ...(carried === undefined ? {} : { carry: carried }), own: below(own, ceilings) };
  }

  #idOf({ namespace, serviceAccount }: WorkloadName): SpiffeId {
    const text = workloadText({ namespace, serviceAccount });
    const id = this.#ids.get(text) ?? workloadId(this.#cell.trustDomain, namespace, serviceAccount);
    this.#ids.set(text, id);
    return id;
  }
}

function matchOf({ port, methods, paths }: RouteMatch): RouteMatch {
  return {
    ...(port === undefined ? {} : { port }),
    ...(methods === undefined ? {} : { methods }),
    ...(paths === undefined ? {} : { paths }),
  };
}

/** The same sources give the same version on every replica, whatever order their files were read in. */
function versionOf(cell: CellDocument, policies: readonly ServicePolicy[]): string {
  const plain = [...policies]
    .sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1))
    .map(({ file: _file, at: _at, written: _written, ...policy }) => policy);
  const federation = cell.federation.map((bundle) => [bundle.trustDomain, serializeTrustBundle(bundle)]);
  const scopes = [...cell.scopes].map(([name, { value }]) => [name, value]);
  return digestOf([
    { ...cell, file: undefined, scopes, federation: federation.length === 0 ? undefined : federation },
    plain,
  ]);
}

function placeOf(policy: ServicePolicy): string {
  return `${workloadText(policy)} ${policy.rollout === undefined ? '' : 'candidate'}`;
}

/** Of what stands in documents, wherever it stands there. */
function digestOf(value: unknown): string {
  const withoutPositions = (key: string, part: unknown) => (key === 'at' ? undefined : part);
  return createHash('sha256').update(JSON.stringify(value, withoutPositions)).digest('hex').slice(0, 12);
}
