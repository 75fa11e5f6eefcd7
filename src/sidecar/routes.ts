import type { SnapshotCall } from '#policy/snapshot.ts';

/** Which declared call an authority names, and the callee's port. */
export interface Route {
  readonly call: SnapshotCall;
  readonly port: number;
}

export type RouteLookup =
  | { readonly tag: 'found'; readonly route: Route }
  /** The host is one of a declared callee, the port is none of its ports. */
  | { readonly tag: 'port-unknown'; readonly call: SnapshotCall }
  | { readonly tag: 'not-declared' };

const notDeclared: RouteLookup = { tag: 'not-declared' };

/** `host` and `port` of an authority in lower case (RFC 9110 4.2.3: hosts are compared without case); the port is absent where none is written. */
export interface Authority {
  readonly host: string;
  readonly port: number | undefined;
}

/** Splits what the engine has checked already. A final dot marks the same name as absolute (RFC 1034 3.1). */
export function splitAuthority(authority: string): Authority {
  const colon = authority.lastIndexOf(':');
  const hasPort = colon > authority.lastIndexOf(']');
  const host = (hasPort ? authority.slice(0, colon) : authority).toLowerCase();
  const port = hasPort ? Number(authority.slice(colon + 1)) : undefined;
  return { host: host.endsWith('.') ? host.slice(0, -1) : host, port };
}

/** The callees of one policy snapshot by host. A host belongs to one manifest, which compiling has checked. */
export class Routes {
  readonly #byHost = new Map<string, SnapshotCall>();

  constructor(calls: readonly SnapshotCall[]) {
    for (const call of calls) for (const host of call.hosts) this.#byHost.set(host, call);
  }

  find(authority: string): RouteLookup {
    const { host, port } = splitAuthority(authority);
    const call = this.#byHost.get(host);
    return call === undefined ? notDeclared : routeTo(call, port);
  }
}

/** Without a port it is the callee's first HTTP port. */
export function routeTo(call: SnapshotCall, port: number | undefined): RouteLookup {
  const declared =
    port === undefined
      ? call.ports.find(({ protocol }) => protocol === 'http')
      : call.ports.find((candidate) => candidate.port === port);
  if (declared === undefined) return { tag: 'port-unknown', call };
  return { tag: 'found', route: { call, port: declared.port } };
}
