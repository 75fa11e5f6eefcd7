import { parseSpiffeId, parseTrustDomain, type SpiffeId, type TrustDomain } from '#certs/spiffe-id.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { type CellId, parseCellId } from '#tokens/cell-id.ts';
import { parseScope, type Scope } from '#tokens/scope.ts';
import type { CallRetries, CallRoute } from './call-traffic.ts';
import type { ListenAddress, ServicePort } from './manifest.ts';
import { type PathPattern, parsePathPattern } from './path-pattern.ts';

/**
 * What one sidecar must know to decide: its own service's manifest, and of every edge both sides, joined when the cell is compiled,
 * so that nothing is asked while serving. The JSON form is what the control plane sends and what lies on disk as last good.
 */
export interface PolicySnapshot {
  /** Digest of the sources that it was compiled from; decisions name it. */
  readonly version: string;
  readonly cell: CellFacts;
  readonly service: ServiceFacts;
  readonly mode: 'audit' | 'enforce';
  readonly rules: readonly SnapshotRule[];
  /** Workloads that declare a call to this service, and what they may bring. */
  readonly callers: readonly SnapshotCaller[];
  /** Workloads that have a manifest which does not declare this call, though a rule here names them. */
  readonly undeclared: readonly SpiffeId[];
  readonly calls: readonly SnapshotCall[];
}

interface CellFacts {
  readonly id: CellId;
  readonly trustDomain: TrustDomain;
  readonly domain: TrustDomain;
  readonly tokenIssuer: string;
}

interface ServiceFacts {
  readonly id: SpiffeId;
  /** `namespace/service-account`. */
  readonly name: string;
  readonly hosts: readonly string[];
  readonly ports: readonly ServicePort[];
}

export interface RouteMatch {
  readonly port?: number;
  readonly methods?: readonly string[];
  readonly paths?: readonly PathPattern[];
}

export interface SnapshotRule extends RouteMatch {
  readonly name: string;
  readonly ids: readonly SpiffeId[];
  readonly isRouterAllowed: boolean;
  readonly isAnyAllowed: boolean;
  readonly scopes: readonly Scope[];
  readonly account: 'required' | 'none';
  readonly sensitive: boolean;
}

export interface SnapshotCaller {
  readonly id: SpiffeId;
  /** Absent: all that is left. */
  readonly carry?: readonly Scope[];
  readonly own: readonly Scope[];
}

export interface SnapshotCall extends SnapshotCaller {
  /** The callee: `id` is its SPIFFE ID. */
  readonly name: string;
  readonly hosts: readonly string[];
  readonly ports: readonly ServicePort[];
  readonly listen?: ListenAddress;
  readonly token: 'propagate' | 'none';
  readonly connectMs?: number;
  /** The first that matches says how a call travels. */
  readonly routes: readonly CallRoute[];
  /** Routes of the callee on which the application must say whose data it means. */
  readonly sensitive: readonly RouteMatch[];
}

/** What a receiver must be able to do beyond reading this format; there is nothing yet. */
export const snapshotFeatures: readonly string[] = [];
const format = 1;

export function serializePolicySnapshot(snapshot: PolicySnapshot): string {
  return JSON.stringify({ format, ...snapshot }, (_, value: unknown) => (isPattern(value) ? value.text : value));
}

/** @throws CellmeshError `policy_snapshot_invalid` */
export function parsePolicySnapshot(json: string): PolicySnapshot {
  try {
    const document = record(JSON.parse(json));
    if (document['format'] !== format) throw new Error(`format ${String(document['format'])} is not ${format}`);
    const cell = record(document['cell']);
    return {
      version: text(document['version']),
      cell: {
        id: parseCellId(text(cell['id'])),
        trustDomain: parseTrustDomain(text(cell['trustDomain'])),
        domain: parseTrustDomain(text(cell['domain'])),
        tokenIssuer: text(cell['tokenIssuer']),
      },
      service: service(document['service']),
      mode: oneOf(document['mode'], 'audit', 'enforce'),
      rules: list(document['rules']).map(rule),
      callers: list(document['callers']).map(caller),
      undeclared: list(document['undeclared']).map((id) => parseSpiffeId(text(id))),
      calls: list(document['calls']).map(call),
    };
  } catch (cause) {
    throw new CellmeshError('policy_snapshot_invalid', `the policy snapshot is refused: ${messageOf(cause)}`, {
      cause,
    });
  }
}

function service(value: unknown): ServiceFacts {
  const { id, name, hosts, ports } = record(value);
  return { id: parseSpiffeId(text(id)), name: text(name), hosts: list(hosts).map(text), ports: list(ports).map(port) };
}

function rule(value: unknown): SnapshotRule {
  const entry = record(value);
  return {
    ...routeMatch(entry),
    name: text(entry['name']),
    ids: list(entry['ids']).map((id) => parseSpiffeId(text(id))),
    isRouterAllowed: flag(entry['isRouterAllowed']),
    isAnyAllowed: flag(entry['isAnyAllowed']),
    scopes: scopes(entry['scopes']),
    account: oneOf(entry['account'], 'required', 'none'),
    sensitive: flag(entry['sensitive']),
  };
}

function caller(value: unknown): SnapshotCaller {
  const { id, carry, own } = record(value);
  return { id: parseSpiffeId(text(id)), ...(carry === undefined ? {} : { carry: scopes(carry) }), own: scopes(own) };
}

function call(value: unknown): SnapshotCall {
  const entry = record(value);
  const { listen, connectMs, routes } = entry;
  return {
    ...caller(value),
    name: text(entry['name']),
    hosts: list(entry['hosts']).map(text),
    ports: list(entry['ports']).map(port),
    ...(listen === undefined
      ? {}
      : { listen: { host: text(record(listen)['host']), port: number(record(listen)['port']) } }),
    token: oneOf(entry['token'], 'propagate', 'none'),
    ...(connectMs === undefined ? {} : { connectMs: number(connectMs) }),
    // A control plane from before there were routes says nothing of them.
    routes: routes === undefined ? [] : list(routes).map((route) => callRoute(record(route))),
    sensitive: list(entry['sensitive']).map((match) => routeMatch(record(match))),
  };
}

function callRoute(entry: Record<string, unknown>): CallRoute {
  const { retries } = entry;
  return {
    ...routeMatch(entry),
    timeouts: Object.fromEntries(Object.entries(record(entry['timeouts'])).map(([name, ms]) => [name, number(ms)])),
    ...(retries === undefined ? {} : { retries: callRetries(record(retries)) }),
  };
}

function callRetries({ attempts, onReset, statuses }: Record<string, unknown>): CallRetries {
  return { attempts: number(attempts), onReset: flag(onReset), statuses: list(statuses).map(number) };
}

function routeMatch({ port, methods, paths }: Record<string, unknown>): RouteMatch {
  return {
    ...(port === undefined ? {} : { port: number(port) }),
    ...(methods === undefined ? {} : { methods: list(methods).map(text) }),
    ...(paths === undefined ? {} : { paths: list(paths).map((path) => parsePathPattern(text(path))) }),
  };
}

function port(value: unknown): ServicePort {
  const entry = record(value);
  return { port: number(entry['port']), protocol: oneOf(entry['protocol'], 'http', 'grpc', 'tcp') };
}

function scopes(value: unknown): readonly Scope[] {
  return list(value).map((scope) => parseScope(text(scope)));
}

export function isPattern(value: unknown): value is PathPattern {
  return typeof value === 'object' && value !== null && 'segments' in value && 'matchesRest' in value;
}

export function record(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Error('a map is expected');
}

export function list(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new Error('a list is expected');
}

export function text(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new Error('text is expected');
}

function number(value: unknown): number {
  if (typeof value === 'number') return value;
  throw new Error('a number is expected');
}

function flag(value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new Error('true or false is expected');
}

export function oneOf<const T extends string>(value: unknown, ...allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw new Error(`${allowed.join(' or ')} is expected`);
  return found;
}
