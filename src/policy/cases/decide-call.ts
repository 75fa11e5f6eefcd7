import type { ScopeSet } from '#tokens/scope.ts';
import { type CanonicalPath, canonicalTarget, noTarget, PathRejected } from '../canonical-path.ts';
import { type Denial, deny } from '../decide.ts';
import type { InboundPolicy } from '../decide-inbound.ts';
import { findRoute } from '../routes.ts';
import type { InboundRequest } from '../rule.ts';
import type { Call, Customer } from './call.ts';
import type { CellAtHand } from './cell-at-hand.ts';

/** What became of a call, and on whose side. A router is the caller's side of what customers ask. */
export type CallDecision =
  | { readonly outcome: 'allow'; readonly rule: string; readonly granted: ScopeSet; readonly asked: Asked }
  /** `mode: audit` lets it through. */
  | { readonly outcome: 'audit'; readonly denial: Denial; readonly granted: ScopeSet; readonly asked: Asked }
  | { readonly outcome: 'deny'; readonly by: 'callee'; readonly denial: Denial; readonly asked: Asked }
  | { readonly outcome: 'deny'; readonly by: 'caller'; readonly denial: Denial };

/** What the callee decided about. */
export interface Asked {
  readonly policy: InboundPolicy;
  readonly request: InboundRequest;
}

/** What goes to the callee. */
interface Sent {
  readonly path: CanonicalPath;
  readonly customer: Customer | undefined;
}

/** Decides a call as the mesh does: the caller's side first, with what it may carry, then the callee's. Limits are not counted. */
export function decideCall(policies: CellAtHand, call: Call): CallDecision {
  const sent = send(policies, call);
  if ('outcome' in sent) return { outcome: 'deny', by: 'caller', denial: sent };
  const policy = policies.inbound(call.callee)!;
  const { peer, isRouter, port, method, nowMs } = call;
  const { path, customer } = sent;
  const left = isRouter ? undefined : customer?.left;
  const request = { peer, isRouter, port: port.port, method, path, token: customer?.token, left, nowMs };
  const decision = policy.decide(request);
  const asked = { policy, request };
  if (decision.outcome === 'deny') return { outcome: 'deny', by: 'callee', denial: decision, asked };
  const { rule, granted, audited } = decision;
  if (audited !== undefined) return { outcome: 'audit', denial: audited, granted, asked };
  return { outcome: 'allow', rule: rule!, granted, asked };
}

function send(policies: CellAtHand, call: Call): Sent | Denial {
  if (call.isRouter) return throughRouter(policies, call);
  const outbound = call.caller === undefined ? undefined : policies.outbound(call.caller);
  const { port, isConnection, customer, method, expectedAccount } = call;
  const found = outbound?.calls.find(({ source }) => source.name === call.callee);
  if (outbound !== undefined && found === undefined)
    return outbound.notDeclared(`${hostOf(policies, call)}:${port.port}`);
  if (isConnection !== (port.protocol === 'tcp'))
    return deny('protocol_mismatch', {
      ...{ condition: 'call', expected: port.protocol === 'tcp' ? 'a connection' : 'a request' },
      actual: isConnection ? 'a connection' : 'a request',
    });
  const path = pathOf(call);
  if (typeof path !== 'string') return path;
  // A caller without a manifest has no policy of its own to hold it back.
  if (outbound === undefined || found === undefined) return { path, customer };
  // A connection has no field to say so: without a customer it is the workload's own.
  const isSelf = call.isSelf || (isConnection && customer === undefined);
  const context = customer === undefined ? ({ tag: 'absent' } as const) : ({ tag: 'found', ...customer } as const);
  const asked = { call: found, port: port.port, method, path, context, isSelf, expectedAccount };
  const decision = outbound.decide(asked);
  return decision.outcome === 'deny' ? decision : { path, customer: decision.attach };
}

/** Routers send what some manifest exposes. */
function throughRouter(policies: CellAtHand, call: Call): Sent | Denial {
  const path = pathOf(call);
  if (typeof path !== 'string') return path;
  const { callee, host, customer } = call;
  const isCallees = (service: string) => service === callee;
  const exposed = policies.routes.routes.filter(({ service }) => isCallees(service)).flatMap(({ hosts }) => hosts);
  const hosts = host === undefined ? exposed : [host];
  const found = hosts
    .map((one) => findRoute(policies.routes, one, path))
    .find((route) => route && isCallees(route.service));
  if (found === undefined)
    return deny('route_unknown', {
      ...{ condition: 'call', expected: `a route to ${callee} that is exposed` },
      actual: `${host ?? (exposed.join(' or ') || policies.snapshotOf(callee)!.service.hosts[0])} ${path}`,
    });
  if (found.auth === 'required' && customer === undefined)
    return deny('credentials_missing', { condition: 'call', expected: "a customer's credentials", actual: 'none' });
  return { path, customer };
}

function pathOf({ isConnection, target }: Call): CanonicalPath | Denial {
  if (isConnection) return noTarget.path;
  try {
    return canonicalTarget(target).path;
  } catch (error) {
    if (!(error instanceof PathRejected)) throw error;
    return deny(error.reason, { condition: 'path', expected: 'a path with one reading', actual: error.message });
  }
}

/** Whose rights the callee's own calls have; nobody's after a call without a customer. */
export function customerAfter(decision: CallDecision): Customer | undefined {
  if (decision.outcome === 'deny') return undefined;
  const { token } = decision.asked.request;
  return token && { token, left: decision.granted };
}

/** As the caller would write it: a name alone is known in its namespace only. */
function hostOf(policies: CellAtHand, { caller, callee }: Call): string {
  const { hosts } = policies.snapshotOf(callee)!.service;
  const isNeighbour = caller?.split('/')[0] === callee.split('/')[0];
  return (isNeighbour ? hosts[0] : hosts.find((host) => host.includes('.'))) ?? hosts[0]!;
}
