import { parseSpiffeId, parseTrustDomain, type SpiffeId, type TrustDomain } from '#certs/spiffe-id.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { type CellId, parseCellId } from '#tokens/cell-id.ts';
import { parseScope, type Scope } from '#tokens/scope.ts';
import type { CallRetries, CallRoute } from './call-traffic.ts';
import { type ClaimCondition, type ClaimValue, parsePointer } from './claim-condition.ts';
import { parseIdPattern } from './id-pattern.ts';
import { flag, list, number, oneOf, record, text } from './json-values.ts';
import { type PathPattern, parsePathPattern } from './path-pattern.ts';
import { unmeshed } from './peer-pattern.ts';
import type { RouteMatch, RuleConditions, RuleLimit } from './rule-conditions.ts';
import type { ListenAddress, ServicePort } from './service-port.ts';

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
  /** Until when callers without TLS are heard: milliseconds since the epoch, by the sidecar's own clock. Absent: never. */
  readonly plaintextUntilMs?: number;
  readonly rules: readonly SnapshotRule[];
  /** Another version of the rules, tried beside them. */
  readonly candidate?: SnapshotCandidate;
  /** What of a customer's scopes routers may bring; absent: all. */
  readonly routerCarry?: readonly Scope[];
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

export interface SnapshotRule extends RuleConditions {
  readonly name: string;
  readonly ids: readonly SpiffeId[];
  /** Of whole SPIFFE IDs, segment by segment. */
  readonly idPatterns: readonly PathPattern[];
  readonly isRouterAllowed: boolean;
  readonly isAnyAllowed: boolean;
  /** Whether it is for callers without TLS. */
  readonly isUnmeshedAllowed: boolean;
  readonly sensitive: boolean;
}

/** The words of `from` that a rule has. */
export function peerWordsOf({
  isRouterAllowed,
  isAnyAllowed,
  isUnmeshedAllowed,
}: Pick<SnapshotRule, 'isRouterAllowed' | 'isAnyAllowed' | 'isUnmeshedAllowed'>): readonly string[] {
  return [
    ...(isRouterAllowed ? ['router'] : []),
    ...(isAnyAllowed ? ['any'] : []),
    ...(isUnmeshedAllowed ? [unmeshed] : []),
  ];
}

export interface SnapshotCandidate {
  /** Digest of its service, rules and mode, whatever its share: what is counted is counted by it. */
  readonly version: string;
  readonly mode: 'audit' | 'enforce';
  /** Of accounts, for which it is in force; 0 to 100. */
  readonly percent: number;
  readonly rules: readonly SnapshotRule[];
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
      ...optional('plaintextUntilMs', document, number),
      rules: list(document['rules']).map(rule),
      ...optional('candidate', document, candidate),
      ...optional('routerCarry', document, scopes),
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

function candidate(value: unknown): SnapshotCandidate {
  const { version, mode, percent, rules } = record(value);
  return {
    version: text(version),
    mode: oneOf(mode, 'audit', 'enforce'),
    percent: number(percent),
    rules: list(rules).map(rule),
  };
}

/** What an older control plane does not say is what it could not: nothing. */
function rule(value: unknown): SnapshotRule {
  const entry = record(value);
  return {
    ...routeMatch(entry),
    name: text(entry['name']),
    ids: list(entry['ids']).map((id) => parseSpiffeId(text(id))),
    idPatterns: list(entry['idPatterns'] ?? []).map((pattern) => parseIdPattern(text(pattern))),
    isRouterAllowed: flag(entry['isRouterAllowed']),
    isAnyAllowed: flag(entry['isAnyAllowed']),
    isUnmeshedAllowed: flag(entry['isUnmeshedAllowed'] ?? false),
    scopes: scopes(entry['scopes']),
    ...optional('anyScope', entry, scopes),
    account: oneOf(entry['account'], 'required', 'none'),
    ...optional('actor', entry, actor),
    claims: list(entry['claims'] ?? []).map(claim),
    ...optional('untilMs', entry, number),
    limits: list(entry['limits'] ?? []).map(limit),
    sensitive: flag(entry['sensitive']),
  };
}

function actor(value: unknown): NonNullable<SnapshotRule['actor']> {
  return Array.isArray(value) ? value.map(text) : oneOf(value, 'none', 'required');
}

function claim(value: unknown): ClaimCondition {
  const entry = record(value);
  const pointer = text(entry['pointer']);
  parsePointer(pointer);
  const anyOf = (values: unknown) => list(values).map(claimValue);
  return {
    pointer,
    as: oneOf(entry['as'], 'value', 'list', 'words'),
    ...(entry['exists'] === undefined ? { anyOf: anyOf(entry['anyOf']) } : { exists: flag(entry['exists']) }),
  };
}

function claimValue(value: unknown): ClaimValue {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  throw new Error('text, a number, true or false is expected');
}

function limit(value: unknown): RuleLimit {
  const { per, perSecond, burst } = record(value);
  return { per: oneOf(per, 'account', 'peer', 'rule'), perSecond: number(perSecond), burst: number(burst) };
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

function optional<const K extends string, T>(
  name: K,
  entry: Record<string, unknown>,
  read: (value: unknown) => T,
): { readonly [key in K]?: T } {
  return (entry[name] === undefined ? {} : { [name]: read(entry[name]) }) as { readonly [key in K]?: T };
}

export function isPattern(value: unknown): value is PathPattern {
  return typeof value === 'object' && value !== null && 'segments' in value && 'matchesRest' in value;
}
