import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { Node, Position, Problems } from '#runtime/yaml-document.ts';
import type { Scope } from '#tokens/scope.ts';
import { type CallRoute, callRoutesOf, checkRetries } from './call-traffic.ts';
import { servicePolicy, type WrittenCall, type WrittenRule } from './manifest-shapes.ts';
import type { PathPattern } from './path-pattern.ts';
import type { Located } from './shapes.ts';

/** `namespace/service-account`: what manifests call a workload of their own cell. */
export interface WorkloadName {
  readonly namespace: string;
  readonly serviceAccount: string;
}

export type PeerPattern =
  | { readonly kind: 'workload'; readonly workload: WorkloadName }
  | { readonly kind: 'id'; readonly id: SpiffeId }
  | { readonly kind: 'router' }
  | { readonly kind: 'any' };

type Protocol = 'http' | 'grpc' | 'tcp';

export interface ServicePort {
  readonly port: number;
  readonly protocol: Protocol;
}

interface Exposure {
  readonly hosts: readonly string[];
  readonly paths: readonly PathPattern[];
  readonly auth: 'required' | 'none';
}

export interface AllowRule {
  readonly name: string;
  readonly from: readonly PeerPattern[];
  /** Absent: every declared port. */
  readonly port?: number;
  /** Absent: every method. */
  readonly methods?: readonly string[];
  /** Absent: every path. */
  readonly paths?: readonly PathPattern[];
  /** Every one of them is needed. */
  readonly scopes: readonly Scope[];
  readonly account: 'required' | 'none';
  readonly sensitive: boolean;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
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
  readonly hosts: readonly Located<string>[];
  readonly ports: readonly ServicePort[];
  readonly expose: readonly Exposure[];
  readonly allow: readonly Located<AllowRule>[];
  readonly calls: readonly Located<DeclaredCall>[];
}

/** Reads one `ServicePolicy` document; findings go to `problems`. */
export function readServicePolicy(node: Node, file: string, problems: Problems): ServicePolicy | undefined {
  const document = servicePolicy(node, problems);
  if (document === undefined) return undefined;
  const { metadata, spec } = document;
  const hosts = spec.hosts ?? defaultHosts(metadata).map((value) => ({ value, at: node.at }));
  const policy: ServicePolicy = {
    file,
    at: node.at,
    ...metadata,
    serviceAccount: spec.serviceAccount,
    mode: spec.mode,
    hosts,
    ports: spec.ports,
    expose: spec.expose ?? [],
    allow: (spec.allow ?? []).map(({ value, at }) => ({ at, value: toRule(value) })),
    calls: (spec.calls ?? []).map(({ value, at }) => ({ at, value: toCall(value) })),
  };
  checkWithin(policy, problems);
  return policy;
}

/** `namespace/service-account` as one word. */
export function workloadText({ namespace, serviceAccount }: WorkloadName): string {
  return `${namespace}/${serviceAccount}`;
}

function defaultHosts({ name, namespace }: { name: string; namespace: string }): readonly string[] {
  const qualified = `${name}.${namespace}`;
  return [name, qualified, `${qualified}.svc`, `${qualified}.svc.cluster.local`];
}

function toRule({ name, from, port, http, scopes, account, sensitive }: WrittenRule): AllowRule {
  return {
    name,
    from,
    ...(port === undefined ? {} : { port }),
    ...(http?.methods === undefined ? {} : { methods: http.methods }),
    ...(http?.paths === undefined ? {} : { paths: http.paths }),
    scopes: scopes ?? [],
    account: account ?? 'required',
    sensitive: sensitive ?? false,
  };
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
  checkOpaque(policy, problems);
  const callees = new Set<string>();
  for (const { value, at } of policy.calls) {
    const callee = workloadText(value.to);
    if (callees.has(callee)) problems.add(at, `a second entry calls ${callee}`);
    callees.add(callee);
    checkRetries(value, at, problems);
  }
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
