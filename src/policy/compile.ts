import { createHash } from 'node:crypto';
import { type SpiffeId, trustDomainOf, workloadId } from '#certs/spiffe-id.ts';
import { documentInvalid, type Position } from '#runtime/yaml-document.ts';
import type { Scope } from '#tokens/scope.ts';
import type { CellDocument } from './cell-document.ts';
import {
  type AllowRule,
  type DeclaredCall,
  type PeerPattern,
  type ServicePolicy,
  type WorkloadName,
  workloadText,
} from './manifest.ts';
import type { RoutesDocument } from './routes.ts';
import type { PolicySnapshot, RouteMatch, SnapshotCall, SnapshotCaller, SnapshotRule } from './snapshot.ts';

/** Everything a control plane hands out, from one set of manifests. */
export interface CompiledCell {
  readonly version: string;
  /** By the SPIFFE ID of the service. */
  readonly snapshots: ReadonlyMap<SpiffeId, PolicySnapshot>;
  readonly routes: RoutesDocument;
}

/**
 * Joins the cell's document and all its manifests: both sides of every edge meet here, once, and each service's sidecar gets what
 * it needs and nothing else.
 * @throws CellmeshError `document_invalid` with every contradiction between manifests, by file and position
 */
export function compileCell(cell: CellDocument, policies: readonly ServicePolicy[]): CompiledCell {
  const problems = contradictions(cell, policies);
  if (problems.length > 0) throw documentInvalid(problems);
  const version = versionOf(cell, policies);
  const byService = new Map(policies.map((policy) => [workloadText(policy), policy]));
  const snapshots = new Map<SpiffeId, PolicySnapshot>();
  for (const policy of policies) {
    const snapshot = compileService(cell, policy, policies, byService, version);
    snapshots.set(snapshot.service.id, snapshot);
  }
  return { version, snapshots, routes: compileRoutes(cell, policies, version) };
}

function compileService(
  cell: CellDocument,
  policy: ServicePolicy,
  policies: readonly ServicePolicy[],
  byService: ReadonlyMap<string, ServicePolicy>,
  version: string,
): PolicySnapshot {
  const idOf = ({ namespace, serviceAccount }: WorkloadName) => workloadId(cell.trustDomain, namespace, serviceAccount);
  const self = workloadText(policy);
  const callers = policies.flatMap((caller): SnapshotCaller[] => {
    const call = caller.calls.find(({ value }) => workloadText(value.to) === self)?.value;
    return call === undefined ? [] : [{ id: idOf(caller), ...carryAndOwn(call) }];
  });
  const rules = policy.allow.map(({ value }) => compileRule(value, idOf));
  const declaring = new Set(callers.map(({ id }) => id));
  const withManifest = new Set(policies.map(idOf));
  const named = new Set(rules.flatMap(({ ids }) => ids));
  return {
    version,
    cell: { id: cell.id, trustDomain: cell.trustDomain, domain: cell.domain, tokenIssuer: cell.tokenIssuer },
    service: { id: idOf(policy), name: self, hosts: policy.hosts.map(({ value }) => value), ports: policy.ports },
    mode: policy.mode,
    rules,
    callers,
    undeclared: [...named].filter((id) => withManifest.has(id) && !declaring.has(id)),
    calls: policy.calls.map(({ value }) => compileCall(value, byService.get(workloadText(value.to))!, idOf)),
  };
}

function compileRule(rule: AllowRule, idOf: (workload: WorkloadName) => SpiffeId): SnapshotRule {
  const ids = rule.from.flatMap((peer: PeerPattern) => {
    if (peer.kind === 'workload') return [idOf(peer.workload)];
    return peer.kind === 'id' ? [peer.id] : [];
  });
  return {
    ...matchOf(rule),
    name: rule.name,
    ids,
    isRouterAllowed: rule.from.some(({ kind }) => kind === 'router'),
    isAnyAllowed: rule.from.some(({ kind }) => kind === 'any'),
    idPatterns: [],
    scopes: rule.scopes,
    account: rule.account,
    claims: [],
    limits: [],
    sensitive: rule.sensitive,
  };
}

function compileCall(
  call: DeclaredCall,
  callee: ServicePolicy,
  idOf: (workload: WorkloadName) => SpiffeId,
): SnapshotCall {
  return {
    id: idOf(callee),
    ...carryAndOwn(call),
    name: workloadText(callee),
    hosts: callee.hosts.map(({ value }) => value),
    ports: callee.ports,
    ...(call.listen === undefined ? {} : { listen: call.listen }),
    token: call.token,
    ...(call.connectMs === undefined ? {} : { connectMs: call.connectMs }),
    routes: call.routes,
    sensitive: callee.allow.filter(({ value }) => value.sensitive).map(({ value }) => matchOf(value)),
  };
}

function compileRoutes(cell: CellDocument, policies: readonly ServicePolicy[], version: string): RoutesDocument {
  const routes = policies.flatMap((policy) =>
    policy.expose.map((exposure) => ({
      ...exposure,
      service: workloadText(policy),
      id: workloadId(cell.trustDomain, policy.namespace, policy.serviceAccount),
      authority: `${policy.hosts[0]!.value}:${policy.ports[0]!.port}`,
    })),
  );
  return { version, cellId: cell.id, routes };
}

function carryAndOwn({ carry, own }: DeclaredCall): { carry?: readonly Scope[]; own: readonly Scope[] } {
  return { ...(carry === undefined ? {} : { carry }), own };
}

function matchOf({ port, methods, paths }: RouteMatch): RouteMatch {
  return {
    ...(port === undefined ? {} : { port }),
    ...(methods === undefined ? {} : { methods }),
    ...(paths === undefined ? {} : { paths }),
  };
}

/** What no manifest can see alone. */
function contradictions(cell: CellDocument, policies: readonly ServicePolicy[]): string[] {
  const problems: string[] = [];
  const add = ({ file }: ServicePolicy, at: Position, message: string) =>
    problems.push(`${file}:${at.line}:${at.column}: ${message}`);
  const services = new Map<string, ServicePolicy>();
  const hosts = new Map<string, ServicePolicy>();
  for (const policy of policies) {
    const first = services.get(workloadText(policy));
    if (first !== undefined)
      add(
        policy,
        policy.at,
        `a second manifest for ${workloadText(policy)}; the first is in ${first.file}:${first.at.line}`,
      );
    services.set(workloadText(policy), policy);
    for (const { value, at } of policy.hosts) {
      const owner = hosts.get(value);
      if (owner !== undefined && owner !== policy)
        add(policy, at, `host ${value} belongs to ${workloadText(owner)} already (${owner.file})`);
      hosts.set(value, policy);
    }
  }
  for (const policy of policies) {
    for (const { value, at } of policy.allow) {
      for (const scope of value.scopes) if (!cell.scopes.has(scope)) add(policy, at, unknownScope(scope, cell));
      for (const peer of value.from) {
        if (peer.kind === 'id' && trustDomainOf(peer.id) !== cell.trustDomain) {
          add(
            policy,
            at,
            `${peer.id} is not of this cell (${cell.trustDomain}); a cell trusts no other cell, and routers are \`router\``,
          );
        }
      }
    }
    for (const { value, at } of policy.calls) {
      if (!services.has(workloadText(value.to))) add(policy, at, `no manifest declares ${workloadText(value.to)}`);
      for (const scope of [...(value.carry ?? []), ...value.own])
        if (!cell.scopes.has(scope)) add(policy, at, unknownScope(scope, cell));
    }
  }
  return problems;
}

function unknownScope(scope: Scope, cell: CellDocument): string {
  return `scope ${scope} is not in the catalogue of ${cell.file} (Cell.spec.scopes)`;
}

/** The same sources give the same version on every replica, whatever order their files were read in. */
function versionOf(cell: CellDocument, policies: readonly ServicePolicy[]): string {
  const plain = [...policies]
    .sort((a, b) => (workloadText(a) < workloadText(b) ? -1 : 1))
    .map(({ file: _file, at: _at, ...policy }) => policy);
  const document = { ...cell, file: undefined, scopes: [...cell.scopes] };
  const withoutPositions = (key: string, value: unknown) => (key === 'at' ? undefined : value);
  return createHash('sha256')
    .update(JSON.stringify([document, plain], withoutPositions))
    .digest('hex')
    .slice(0, 12);
}
