import type { TargetForm } from './message.ts';
import { ruleBroken } from './wire-error.ts';

interface ParsedTarget {
  readonly form: TargetForm;
  readonly path: string;
  /** Lower case; undefined for forms that name no host. */
  readonly authority: string | undefined;
  /** With its colon: what an absolute form leaves out of its authority. Empty for the other forms. */
  readonly defaultPort: string;
}

const absolutePattern = /^(https?):\/\/([^/?]*)(.*)$/i;
/** Letters, digits, `.`, `-`, `_` or an address in brackets; then perhaps a port. No user information, no percent encoding. */
const authorityPattern = /^(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?$/;
const portMax = 65_535;

/** The four forms of RFC 9112 3.2; which one a method may use is fixed. */
export function parseTarget(method: string, target: string): ParsedTarget {
  if (method === 'CONNECT') return authorityForm(target);
  if (target.charCodeAt(0) === 0x2f) return { form: 'origin', path: target, authority: undefined, defaultPort: '' };
  if (target === '*' && method === 'OPTIONS')
    return { form: 'asterisk', path: '*', authority: undefined, defaultPort: '' };
  const [, scheme, authority, rest] = absolutePattern.exec(target) ?? [];
  if (scheme === undefined || authority === undefined || rest === undefined) {
    throw ruleBroken('target_form', 'the request target is neither a path nor an http URI');
  }
  const path = rest.startsWith('/') ? rest : `/${rest}`;
  const defaultPort = scheme.toLowerCase() === 'https' ? ':443' : ':80';
  return { form: 'absolute', path, authority: withoutPort(parseAuthority(authority), defaultPort), defaultPort };
}

function authorityForm(target: string): ParsedTarget {
  const authority = parseAuthority(target);
  if (!/:[0-9]+$/.test(authority)) throw ruleBroken('target_form', 'CONNECT names no port');
  return { form: 'authority', path: '', authority, defaultPort: '' };
}

/** Most requests of a process are for the host of the one before. */
let lastText = '';
let lastAuthority = '';

/**
 * `host[:port]` in lower case.
 * @throws WireError `authority`
 */
export function parseAuthority(text: string): string {
  if (text === lastText && text !== '') return lastAuthority;
  const authority = text.toLowerCase();
  const match = authorityPattern.exec(authority);
  if (match === null || Number(match[1] ?? 0) > portMax) {
    throw ruleBroken('authority', 'not a host name or address with an optional port');
  }
  lastText = text;
  lastAuthority = authority;
  return authority;
}

/**
 * What the request is for. A target that names a host wins over `Host` (RFC 9112 3.2.2), and a `Host` that differs is refused:
 * the next hop might believe the other one.
 */
export function effectiveAuthority(target: ParsedTarget, host: string): string {
  const { authority, form } = target;
  if (authority === undefined) return host;
  const agrees =
    form === 'absolute'
      ? withoutPort(host, target.defaultPort) === authority
      : host === authority || host === authority.slice(0, authority.lastIndexOf(':'));
  if (!agrees) throw ruleBroken('host_differs', 'Host differs from the host in the request target');
  return authority;
}

function withoutPort(authority: string, port: string): string {
  return port !== '' && authority.endsWith(port) ? authority.slice(0, -port.length) : authority;
}
