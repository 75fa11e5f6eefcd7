import type { SpiffeId } from '#certs/spiffe-id.ts';
import type { OutboundCall, OutboundPolicy } from '#policy/decide-outbound.ts';
import type { ServicePort } from '#policy/service-port.ts';
import type { ServerExchange } from '#wire/exchange.ts';
import type { ActivePolicy } from './active-policy.ts';
import { splitAuthority } from './authority.ts';
import { Refused } from './refusal.ts';

/** How a request of the application reached its sidecar. */
export type OutboundEntry =
  /** The shared port: the request names the host, in `Host` or in absolute form. */
  | { readonly tag: 'proxy' }
  /** The inside of a CONNECT, opened for `authority`. */
  | { readonly tag: 'tunnel'; readonly authority: string }
  /** A loopback port of one callee: whatever the request names, that callee is meant. */
  | { readonly tag: 'listen'; readonly callee: SpiffeId }
  /** Redirected on its way to an address: to that of `callee`, or to one that no declared call goes to. */
  | { readonly tag: 'intercepted'; readonly to: string; readonly callee?: SpiffeId; readonly port?: ServicePort };

export interface Chosen {
  readonly call: OutboundCall;
  /** What the callee's sidecar sees as `Host`: always with the port, which picks the entry of its `ports`. */
  readonly authority: string;
  readonly port: ServicePort;
}

/** The declared call that the request is for; undefined when the manifest declares none. */
export function choose(
  { outbound, chosen }: ActivePolicy,
  exchange: ServerExchange<OutboundEntry>,
): Chosen | undefined {
  const { context } = exchange;
  if (context.tag === 'listen' || context.tag === 'intercepted') {
    const call = outbound.calls.find(({ source }) => source.id === context.callee);
    const host = call?.source.hosts[0];
    const port = context.tag === 'intercepted' ? context.port : call?.source.ports[0];
    return call === undefined || host === undefined || port === undefined
      ? undefined
      : { call, authority: `${host}:${port.port}`, port };
  }
  const authority = authorityOf(exchange);
  return chosen.get(authority) ?? chooseByAuthority(outbound, authority, chosen);
}

/** Only what is found is kept: there is no end of other authorities. */
function chooseByAuthority(outbound: OutboundPolicy, authority: string, chosen: Map<string, Chosen>) {
  const { host, port } = splitAuthority(authority);
  const found = outbound.findCall(host, port);
  if (found === undefined) return undefined;
  const choice: Chosen = { ...found, authority: `${host}:${found.port.port}` };
  chosen.set(authority, choice);
  return choice;
}

/** @throws Refused when a request inside a tunnel names another host than the tunnel was opened for */
export function authorityOf({ context, request }: ServerExchange<OutboundEntry>): string {
  if (context.tag === 'intercepted') return context.to;
  if (context.tag !== 'tunnel') return request.authority;
  const outer = splitAuthority(context.authority);
  const inner = splitAuthority(request.authority);
  if (inner.host !== outer.host || (inner.port !== undefined && inner.port !== outer.port)) {
    throw new Refused('message_malformed', 'call', `a request for ${context.authority}`, 'another host in the tunnel');
  }
  return context.authority;
}
