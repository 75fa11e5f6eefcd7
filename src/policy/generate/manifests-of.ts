import type { ClaimCondition } from '../claim-condition.ts';
import type { DeclaredCall, ServicePolicy } from '../manifest.ts';
import { apiVersion } from '../manifest-shapes.ts';
import type { ServicePort } from '../service-port.ts';
import type { SnapshotRule } from '../snapshot.ts';
import { workloadText } from '../workload-name.ts';
import { callsOf, type GeneratedCall } from './calls-of.ts';
import { type GeneratedRule, rulesOf } from './rules-of.ts';
import type { Seen, SeenService } from './seen.ts';

type Fields = Readonly<Record<string, unknown>>;

/** A `ServicePolicy` document, in the order in which people write it. */
interface GeneratedDocument {
  readonly apiVersion: string;
  readonly kind: 'ServicePolicy';
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: Fields & { readonly allow?: readonly (Fields & { readonly name: string })[] };
}

/** One manifest, and what its reader should know of it. */
export interface GeneratedManifest {
  /** `namespace/service-account`. */
  readonly service: string;
  readonly document: GeneratedDocument;
  /** By the name of the rule. */
  readonly requests: Readonly<Record<string, number>>;
  readonly notes: readonly string[];
}

const rulesMax = 10_000;
const portUnknown: ServicePort = { port: 8080, protocol: 'http' };
const grpcPath = /^\/(([A-Za-z_]\w*\.)*[A-Za-z_]\w*\/[A-Za-z_]\w*)$/;

/**
 * The least manifests that allow what was seen, in mode audit. Hosts, ports, `expose`, and of calls `listen` and `token` are those of today's
 * manifests: records do not say them.
 * @param today `namespace/service-account` and its manifest
 */
export function manifestsOf(seen: Seen, today: ReadonlyMap<string, ServicePolicy>): GeneratedManifest[] {
  const calls = callsOf(seen);
  // Who has scopes by itself has a manifest, though no record of its own was seen.
  const owning = [...calls].filter(
    ([from, some]) => !seen.services.has(from) && some.some(({ own }) => own.length > 0),
  );
  const silent = owning.map(([from]): [string, SeenService] => [from, { ports: new Map() }]);
  return [...seen.services, ...silent]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([service, found]) => manifestOf(service, found, calls.get(service) ?? [], today.get(service)));
}

function manifestOf(
  service: string,
  seen: SeenService,
  calls: readonly GeneratedCall[],
  today: ServicePolicy | undefined,
): GeneratedManifest {
  const [namespace = '', serviceAccount = ''] = service.split('/');
  const ports = today?.ports ?? portsSeen(seen);
  const found = rulesOf(seen);
  const names = new Names();
  const rules = found.slice(0, rulesMax).map((rule) => ({ name: names.of(rule), rule }));
  const spec = {
    serviceAccount,
    mode: 'audit',
    ...(today?.written.includes('hosts') && { hosts: today.hosts.map(({ value }) => value) }),
    ports: ports.length === 0 ? [portUnknown] : ports,
    ...(today && today.expose.length > 0 && { expose: today.expose.map(exposeFields) }),
    ...(rules.length > 0 && { allow: rules.map(({ name, rule }) => ruleFields(name, rule, ports)) }),
    ...(calls.length > 0 && { calls: calls.map((call) => callFields(call, today)) }),
  };
  return {
    service,
    document: {
      apiVersion,
      kind: 'ServicePolicy',
      metadata: { name: today?.name ?? serviceAccount, namespace },
      spec,
    },
    requests: Object.fromEntries(rules.map(({ name, rule }) => [name, rule.requests])),
    notes: [...notesOf(found, ports, today)],
  };
}

function* notesOf(
  rules: readonly GeneratedRule[],
  ports: readonly ServicePort[],
  today: ServicePolicy | undefined,
): Generator<string> {
  if (rules.length === 0) yield 'Nothing that asked it was seen.';
  if (rules.length > rulesMax) yield `${rules.length - rulesMax} rules more would be needed than a manifest may have.`;
  if (ports.length === 0) yield 'Its ports are not known: correct them.';
  if (today?.calls.some(({ value }) => value.routes.length > 0 || value.connectMs !== undefined))
    yield 'Time-outs and retries of its calls are not repeated here.';
  if (today !== undefined) return;
  yield 'No manifest of it is known: correct hosts and protocols.';
  if (rules.some(({ from }) => from.includes('router')))
    yield 'Routers call it: say with `expose` by which hosts and paths.';
}

function portsSeen({ ports }: SeenService): ServicePort[] {
  return [...ports]
    .filter(([port]) => port !== 0)
    .map(([port, { connections }]) => ({ port, protocol: connections.size > 0 ? 'tcp' : 'http' }) as const);
}

function exposeFields({ hosts, paths, auth }: ServicePolicy['expose'][number]): Fields {
  return { hosts, paths: paths.map(({ text }) => text), auth };
}

function ruleFields(name: string, rule: GeneratedRule, ports: readonly ServicePort[]): Fields & { name: string } {
  const { from, port, scopes, account } = rule;
  const isOne = ports.length <= 1;
  return {
    name,
    from,
    ...(port !== 0 && !isOne && { port }),
    ...routeFields(rule, ports),
    ...(scopes.length > 0 && { scopes }),
    ...(account === 'none' && { account }),
    ...conditionFields(rule.rule),
  };
}

function routeFields({ methods, paths, port }: GeneratedRule, ports: readonly ServicePort[]): Fields {
  if (methods === undefined || paths === undefined) return {};
  const protocol = (ports.length === 1 ? ports[0] : ports.find((one) => one.port === port))?.protocol;
  const calls = paths.map((path) => grpcPath.exec(path)?.[1]);
  const isGrpc = protocol === 'grpc' && methods.join() === 'POST' && !calls.includes(undefined);
  return isGrpc ? { grpc: { methods: calls } } : { http: { methods, paths } };
}

/** What today's rule asks for besides. */
function conditionFields(rule: SnapshotRule | undefined): Fields {
  if (rule === undefined) return {};
  const { anyScope, actor, claims, untilMs, limits, sensitive } = rule;
  return {
    ...(anyScope && { anyScope }),
    ...(actor !== undefined && { actor }),
    ...(claims.length > 0 && { claims: claims.map(claimFields) }),
    ...(untilMs !== undefined && { until: new Date(untilMs).toISOString() }),
    ...(limits.length > 0 && { limits }),
    ...(sensitive && { sensitive }),
  };
}

function claimFields({ pointer, as, anyOf, exists }: ClaimCondition): Fields {
  return exists === undefined ? { pointer, ...(as !== 'value' && { as }), in: anyOf } : { pointer, exists };
}

function callFields({ to, carry, own }: GeneratedCall, today: ServicePolicy | undefined): Fields {
  const known: Partial<DeclaredCall> = today?.calls.find(({ value }) => workloadText(value.to) === to)?.value ?? {};
  const { listen, token } = known;
  return {
    to,
    ...(listen && { listen: `${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${listen.port}` }),
    ...(token === 'none' ? { token } : { carry }),
    ...(own.length > 0 && { own }),
  };
}

/** Names of rules: those of today or of then, or after method and path; no two alike. */
class Names {
  readonly #taken = new Set<string>();

  of({ ruleName, methods = [], paths = [] }: GeneratedRule): string {
    const written = ruleName ?? [methods[0] ?? 'connect', ...(paths[0] ?? '').split('/')].join('-');
    const label = written
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .slice(0, 50)
      .replace(/^-+|-+$/g, '');
    let name = label;
    for (let n = 2; this.#taken.has(name); n++) name = `${label}-${n}`;
    this.#taken.add(name);
    return name;
  }
}
