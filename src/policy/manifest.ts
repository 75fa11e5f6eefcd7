import type { Node, Position, Problems } from '#runtime/yaml-document.ts';
import type { Scope } from '#tokens/scope.ts';
import { type CallRoute, callRoutesOf, checkRetries } from './call-traffic.ts';
import type { ClaimCondition } from './claim-condition.ts';
import { servicePolicy, type WrittenCall } from './manifest-shapes.ts';
import type { PathPattern } from './path-pattern.ts';
import type { PeerPattern } from './peer-pattern.ts';
import { asksForProof, type RuleConditions } from './rule-conditions.ts';
import type { WrittenRule } from './rule-shapes.ts';
import type { ListenAddress, ServicePort } from './service-port.ts';
import type { Located } from './shapes.ts';
import { type WorkloadName, workloadText } from './workload-name.ts';

interface Exposure {
  readonly hosts: readonly string[];
  readonly paths: readonly PathPattern[];
  readonly auth: 'required' | 'none';
}

export interface AllowRule extends RuleConditions {
  readonly name: string;
  readonly from: readonly PeerPattern[];
  /** Written as methods of gRPC: for ports of that protocol only. */
  readonly isGrpc: boolean;
  readonly sensitive: boolean;
}

/** Another version of a service's rules, tried beside those in force. */
export interface Rollout {
  /** Of accounts, for which it is in force; 0 to 100. */
  readonly percent: number;
  /** Percentage of what the version in force allowed. */
  readonly newlyDeniedMax: number;
  /** Requests before it is judged. */
  readonly requestsMin: number;
}

export interface DeclaredCall {
  readonly to: WorkloadName;
  /** A loopback port of the caller's own for this callee. */
  readonly listen?: ListenAddress;
  /** The scopes of a customer that may be taken along. Absent: all that is left. */
  readonly carry?: readonly Scope[];
  /** The scopes that the caller has by itself at this callee. */
  readonly own: readonly Scope[];
  readonly token: 'propagate' | 'none';
  /** For a connection to one of its instances. */
  readonly connectMs?: number;
  readonly routes: readonly CallRoute[];
}

/** A `ServicePolicy` manifest (docs/manifest.md), with where its parts stand for later findings. */
export interface ServicePolicy {
  readonly file: string;
  readonly at: Position;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly mode: 'audit' | 'enforce';
  /** Names by which every caller of the cell calls it: of one manifest only. */
  readonly hosts: readonly Located<string>[];
  /** A name by which callers of its own namespace call it too. Absent where `hosts` are written out. */
  readonly bareHost?: string;
  readonly ports: readonly ServicePort[];
  /** Until when callers without TLS are heard: milliseconds since the epoch. Absent: never. */
  readonly plaintextUntilMs?: number;
  readonly expose: readonly Exposure[];
  readonly allow: readonly Located<AllowRule>[];
  readonly calls: readonly Located<DeclaredCall>[];
  /** Of a candidate only. */
  readonly rollout?: Rollout;
  /** Fields of `spec` that are written out: what a candidate leaves out is as in the version in force. */
  readonly written: readonly string[];
}

/** Reads one `ServicePolicy` document; findings go to `problems`. */
export function readServicePolicy(node: Node, file: string, problems: Problems): ServicePolicy | undefined {
  const document = servicePolicy(node, problems);
  if (document === undefined) return undefined;
  const { spec } = document;
  const { name, namespace } = document.metadata;
  const policy: ServicePolicy = {
    file,
    at: node.at,
    name,
    namespace,
    serviceAccount: spec.serviceAccount,
    mode: spec.mode,
    ...hostsOf(document.metadata, spec.hosts, node.at),
    ports: spec.ports,
    ...(spec.inbound?.until !== undefined && { plaintextUntilMs: spec.inbound.until }),
    expose: spec.expose ?? [],
    allow: (spec.allow ?? []).map(({ value, at }) => ({ at, value: toRule(value, spec.ports) })),
    calls: (spec.calls ?? []).map(({ value, at }) => ({ at, value: toCall(value) })),
    ...(spec.rollout && { rollout: { requestsMin: requestsMinDefault, ...spec.rollout } }),
    written: Object.keys(spec),
  };
  checkWithin(policy, problems);
  return policy;
}

/** What a rollout does not say. */
const requestsMinDefault = 100;

function hostsOf(
  { name, namespace }: { readonly name: string; readonly namespace: string },
  written: readonly Located<string>[] | undefined,
  at: Position,
): Pick<ServicePolicy, 'hosts' | 'bareHost'> {
  if (written !== undefined) return { hosts: written };
  const qualified = `${name}.${namespace}`;
  const hosts = [qualified, `${qualified}.svc`, `${qualified}.svc.cluster.local`];
  return { bareHost: name, hosts: hosts.map((value) => ({ value, at })) };
}

/** The names by which callers of a namespace call it, the one to write first; in no namespace are routers. */
export function hostsIn(
  { bareHost, hosts, namespace }: Pick<ServicePolicy, 'bareHost' | 'hosts' | 'namespace'>,
  callers: string | undefined,
): readonly string[] {
  const everywhere = hosts.map(({ value }) => value);
  return bareHost !== undefined && callers === namespace ? [bareHost, ...everywhere] : everywhere;
}

function toRule(written: WrittenRule, ports: readonly ServicePort[]): AllowRule {
  const { name, from, http, grpc, claims, until, limits, account, scopes, sensitive, ...rest } = written;
  const methods = grpc === undefined ? http?.methods : ['POST'];
  const paths = grpc?.methods ?? http?.paths;
  const port = written.port ?? (grpc === undefined ? undefined : onlyGrpcPort(ports));
  return {
    ...rest,
    name,
    from,
    ...(methods === undefined ? {} : { methods }),
    ...(paths === undefined ? {} : { paths }),
    ...(port === undefined ? {} : { port }),
    isGrpc: grpc !== undefined,
    scopes: scopes ?? [],
    account: account ?? 'required',
    claims: (claims ?? []).map(toClaim),
    ...(until === undefined ? {} : { untilMs: until }),
    limits: (limits ?? []).map((limit) => ({ burst: Math.max(1, Math.ceil(limit.perSecond)), ...limit })),
    sensitive: sensitive ?? false,
  };
}

function onlyGrpcPort(ports: readonly ServicePort[]): number | undefined {
  const found = ports.filter(({ protocol }) => protocol === 'grpc');
  return found.length === 1 ? found[0]!.port : undefined;
}

function toClaim({
  claim,
  pointer,
  as,
  equals,
  in: values,
  exists,
}: NonNullable<WrittenRule['claims']>[number]): ClaimCondition {
  const test = exists === undefined ? { anyOf: values ?? [equals!] } : { exists };
  return { pointer: pointer ?? `/${claim}`, as: as ?? 'value', ...test };
}

function toCall({ to, listen, carry, own, token, timeouts, retries, routes }: WrittenCall): DeclaredCall {
  const traffic = { ...(timeouts && { timeouts }), ...(retries && { retries }), ...(routes && { routes }) };
  return {
    to,
    ...(listen === undefined ? {} : { listen }),
    ...(carry === undefined ? {} : { carry }),
    own: own ?? [],
    token: token === 'none' ? 'none' : 'propagate',
    ...(timeouts?.connect === undefined ? {} : { connectMs: timeouts.connect }),
    routes: callRoutesOf(traffic),
  };
}

/** What one manifest must hold by itself; what several must hold together is `compileCell`'s. */
function checkWithin(policy: ServicePolicy, problems: Problems): void {
  const ports = new Set<number>();
  for (const { port } of policy.ports) {
    if (ports.has(port)) problems.add(policy.at, `port ${port} is declared twice`);
    ports.add(port);
  }
  const names = new Set<string>();
  for (const { value, at } of policy.allow) {
    if (names.has(value.name)) problems.add(at, `a second rule has the name ${value.name}`);
    names.add(value.name);
    if (value.port !== undefined && !ports.has(value.port))
      problems.add(at, `port ${value.port} is not one of \`ports\``);
  }
  for (const { value, at } of policy.allow) checkRule(value, policy.ports, (message) => problems.add(at, message));
  checkOpaque(policy, problems);
  const callees = new Set<string>();
  for (const { value, at } of policy.calls) {
    const callee = workloadText(value.to);
    if (callees.has(callee)) problems.add(at, `a second entry calls ${callee}`);
    callees.add(callee);
    checkRetries(value, at, problems);
  }
}

function checkRule(rule: AllowRule, ports: readonly ServicePort[], add: (message: string) => void): void {
  if (rule.isGrpc && ports.find(({ port }) => port === rule.port)?.protocol !== 'grpc') {
    const which =
      rule.port === undefined ? 'say with `port` which port of gRPC is meant' : `port ${rule.port} is not grpc`;
    add(`\`grpc\` is for a port with \`protocol: grpc\`: ${which}`);
  }
  if (rule.account === 'none' && rule.limits.some(({ per }) => per === 'account'))
    add('a limit `per: account` needs `account: required`: without a customer there is nothing to count by');
  if (rule.from.some(({ kind }) => kind === 'unmeshed')) checkUnmeshed(rule, add);
}

/** Whoever calls without TLS proves nothing, and nothing that it says of itself is heard: such a rule can ask for nothing. */
function checkUnmeshed(rule: AllowRule, add: (message: string) => void): void {
  if (rule.account === 'required')
    add('a rule with `from: [unmeshed]` says `account: none`: without TLS nobody brings a customer');
  if (asksForProof(rule))
    add('a rule with `from: [unmeshed]` has no scopes, claims or actor and is not sensitive: nothing proves them');
}

/** A port with `protocol: tcp` has neither paths nor methods, and routers speak HTTP. */
function checkOpaque({ ports, allow, expose, at }: ServicePolicy, problems: Problems): void {
  const opaque = new Set(ports.filter(({ protocol }) => protocol === 'tcp').map(({ port }) => port));
  for (const { value, at } of allow) {
    if (value.port === undefined || !opaque.has(value.port)) continue;
    if (value.methods !== undefined || value.paths !== undefined) {
      problems.add(at, `port ${value.port} is tcp: it has neither methods nor paths`);
    }
  }
  if (expose.length > 0 && ports[0]?.protocol === 'tcp') {
    problems.add(at, '`expose` sends to the first of `ports`, which is tcp: routers speak HTTP');
  }
}
