import type { AccountId } from '#tokens/account-id.ts';
import { ScopeSet } from '#tokens/scope.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import type { CallRoute } from './call-traffic.ts';
import type { CanonicalPath } from './canonical-path.ts';
import { type Denial, deny, type Permit, permit } from './decide.ts';
import { matchesPath } from './path-pattern.ts';
import type { RouteMatch } from './rule-conditions.ts';
import type { ServicePort } from './service-port.ts';
import type { PolicySnapshot, SnapshotCall } from './snapshot.ts';

/** On whose behalf the application says it calls. */
export type CallContext =
  | { readonly tag: 'found'; readonly token: VerifiedToken; readonly left: ScopeSet }
  | { readonly tag: 'absent' }
  | { readonly tag: 'unknown' }
  | { readonly tag: 'expired' };

export interface OutboundRequest {
  readonly call: OutboundCall;
  /** The port of the callee that is meant. */
  readonly port: number;
  readonly method: string;
  readonly path: CanonicalPath;
  readonly context: CallContext;
  /** `cellmesh-as: self`. */
  readonly isSelf: boolean;
  readonly expectedAccount: AccountId | undefined;
}

/** One entry of `calls`, ready to decide. */
export interface OutboundCall {
  readonly source: SnapshotCall;
  readonly carry: ScopeSet | undefined;
}

interface OutboundGrant {
  readonly call: OutboundCall;
  /** What travels along; absent when the workload calls for itself. */
  readonly attach: { readonly token: VerifiedToken; readonly left: ScopeSet } | undefined;
}

export type OutboundPermit = Permit<OutboundGrant>;

/** A service's outbound policy, ready to decide. Built once per snapshot. */
export class OutboundPolicy {
  readonly snapshot: PolicySnapshot;
  readonly calls: readonly OutboundCall[];
  readonly #byHost = new Map<string, OutboundCall>();
  readonly #routeNames = new Map<CallRoute, string | undefined>();

  constructor(snapshot: PolicySnapshot) {
    this.snapshot = snapshot;
    this.calls = snapshot.calls.map((source) => ({
      source,
      carry: source.carry === undefined ? undefined : ScopeSet.of(source.carry),
    }));
    for (const { routes } of snapshot.calls) for (const route of routes) this.#routeNames.set(route, nameOf(route));
    for (const call of this.calls) for (const host of call.source.hosts) this.#byHost.set(host, call);
  }

  /**
   * The declared call to `host` (lower case, without a final dot), and the port that is meant: the callee's first when none is named.
   * Undefined when the manifest declares no such call.
   */
  findCall(
    host: string,
    port: number | undefined,
  ): { readonly call: OutboundCall; readonly port: ServicePort } | undefined {
    const call = this.#byHost.get(host);
    if (call === undefined) return undefined;
    const found = port === undefined ? call.source.ports[0] : call.source.ports.find((entry) => entry.port === port);
    return found === undefined ? undefined : { call, port: found };
  }

  /** What `route` is called in records and metrics: its paths, or its methods; undefined for the one that takes everything. */
  nameOf(route: CallRoute): string | undefined {
    return this.#routeNames.get(route);
  }

  /** How a permitted call travels; undefined where the manifest does not say. */
  routeOf(request: OutboundRequest): CallRoute | undefined {
    for (const route of request.call.source.routes) if (matchesRoute(route, request)) return route;
    return undefined;
  }

  notDeclared(authority: string): Denial {
    const expected = this.calls.flatMap(({ source }) => source.hosts[0] ?? []).join(' or ') || 'no call at all';
    return deny('not_declared', { condition: 'call', expected, actual: authority });
  }

  decide(request: OutboundRequest): OutboundPermit | Denial {
    const { call, context, expectedAccount } = request;
    switch (context.tag) {
      case 'unknown':
        return deny('context_unknown', {
          condition: 'context',
          expected: 'a handle of this sidecar',
          actual: 'an unknown handle',
        });
      case 'expired':
        return deny('context_expired', {
          condition: 'context',
          expected: 'a live token behind the handle',
          actual: 'it has ended',
        });
      case 'absent':
        return this.#withoutCustomer(request);
      case 'found':
        break;
    }
    if (request.isSelf) return this.#withoutCustomer(request);
    const { token, left } = context;
    if (expectedAccount !== undefined && expectedAccount !== token.account) {
      return deny('account_mismatch', {
        condition: 'context',
        expected: expectedAccount,
        actual: token.account ?? 'no account',
      });
    }
    if (expectedAccount === undefined && isSensitive(call, request)) {
      return deny('account_not_expected', {
        condition: 'context',
        expected: 'cellmesh-expect-account',
        actual: 'none',
      });
    }
    if (call.source.token === 'none') return permit({ outcome: 'permit', call, attach: undefined });
    return permit({
      outcome: 'permit',
      call,
      attach: { token, left: call.carry === undefined ? left : left.intersect(call.carry) },
    });
  }

  #withoutCustomer({ call, isSelf, expectedAccount }: OutboundRequest): OutboundPermit | Denial {
    if (expectedAccount !== undefined) {
      return deny('account_mismatch', { condition: 'context', expected: expectedAccount, actual: 'no customer' });
    }
    const carriesNothing = call.source.token === 'none' || call.carry?.size === 0;
    if (isSelf || carriesNothing) return permit({ outcome: 'permit', call, attach: undefined });
    return deny('context_missing', {
      condition: 'context',
      expected: 'cellmesh-context or tracestate of the incoming request, or cellmesh-as: self',
      actual: 'none',
    });
  }
}

function nameOf({ port, methods, paths }: RouteMatch): string | undefined {
  const parts = [
    paths?.map(({ text }) => text).join('|'),
    methods?.join('|'),
    port === undefined ? undefined : `:${port}`,
  ];
  return parts.find((part) => part !== undefined);
}

function isSensitive({ source }: OutboundCall, request: OutboundRequest): boolean {
  for (const match of source.sensitive) if (matchesRoute(match, request)) return true;
  return false;
}

function matchesRoute({ port, methods, paths }: RouteMatch, request: OutboundRequest): boolean {
  if (port !== undefined && port !== request.port) return false;
  if (methods !== undefined && !methods.includes(request.method)) return false;
  return paths === undefined || paths.some((pattern) => matchesPath(pattern, request.path));
}
