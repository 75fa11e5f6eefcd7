/** Host and port of an authority; the port is absent where none is written. */
interface Authority {
  readonly host: string;
  readonly port: number | undefined;
}

/** Splits what the engine has checked and put in lower case already. A final dot marks the same name as absolute (RFC 1034 3.1). */
export function splitAuthority(authority: string): Authority {
  const colon = authority.lastIndexOf(':');
  const hasPort = colon > authority.lastIndexOf(']');
  const host = hasPort ? authority.slice(0, colon) : authority;
  const port = hasPort ? Number(authority.slice(colon + 1)) : undefined;
  return { host: host.endsWith('.') ? host.slice(0, -1) : host, port };
}
