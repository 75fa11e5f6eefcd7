import { acceptsTrailers, contentLengthOf, expectsContinue } from '../body-framing.ts';
import type { HttpLimits } from '../limits.ts';
import type { RequestHead, TargetForm } from '../message.ts';
import { parseAuthority } from '../target.ts';
import type { Upgrade } from '../websocket.ts';
import { ruleBroken } from '../wire-error.ts';
import type { DecodedField } from './decoded-field.ts';
import type { DecodedBlock } from './hpack-decoder.ts';
import { Http2Fields } from './http2-fields.ts';

/** As the target of HTTP/1.1 in `scan-head.ts`: visible ASCII without `#`, `"`, `<` and `>`. */
const pathPattern = /^\/[!$-;=?-~]*$/;
const methodPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,24}$/;
/** With these an empty body is said to be one, so that a server does not wait for it (RFC 9110 8.6). */
const methodsWithBody: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

interface PseudoFields {
  method: string | undefined;
  scheme: string | undefined;
  authority: string | undefined;
  path: string | undefined;
  protocol: string | undefined;
}

/** The head of an HTTP/2 request (RFC 9113 8.3.1), with what makes a request malformed refused. */
export class Http2RequestHead extends Http2Fields implements RequestHead {
  readonly method: string;
  readonly target: string;
  readonly form: TargetForm;
  readonly path: string;
  readonly authority: string;
  readonly framing: RequestHead['framing'];
  readonly contentLength: number;
  readonly expectsContinue: boolean;
  readonly acceptsTrailers: boolean;
  readonly upgrade: Upgrade | undefined;

  /** @throws WireError */
  constructor({ fields, problem }: DecodedBlock, hasEnded: boolean, limits: HttpLimits) {
    if (problem !== undefined) throw problem;
    const pseudo: PseudoFields = {
      method: undefined,
      scheme: undefined,
      authority: undefined,
      path: undefined,
      protocol: undefined,
    };
    const count = takePseudoFields(fields, pseudo);
    super(fields.slice(count), limits.lineBytesMax);
    this.method = methodOf(pseudo);
    this.upgrade = protocolOf(pseudo, hasEnded);
    // An extended CONNECT is to a policy what the upgrade of HTTP/1.1 is: a GET.
    if (this.upgrade !== undefined) this.method = 'GET';
    const { form, path } = targetOf(this.method, pseudo, limits);
    this.form = form;
    this.path = path;
    this.authority = this.#authority(pseudo.authority);
    this.target = form === 'authority' ? this.authority : path;
    const length = this.#contentLength(hasEnded);
    this.framing = length >= 0 ? 'length' : hasEnded || this.upgrade !== undefined ? 'none' : 'chunked';
    this.contentLength = length;
    this.expectsContinue = expectsContinue(this) && !hasEnded;
    this.acceptsTrailers = acceptsTrailers(this);
  }

  /** `Host` counts where there is no `:authority`, and must not differ from it. */
  #authority(authority: string | undefined): string {
    const count = this.fieldCount('host');
    if (count > 1) throw ruleBroken('host_repeated', 'Host is given more than once');
    const host = count === 0 ? undefined : parseAuthority(this.field('host')!);
    if (authority === undefined) {
      if (host === undefined) throw ruleBroken('host_missing', 'neither :authority nor Host is given');
      return host;
    }
    const parsed = parseAuthority(authority);
    if (this.form === 'authority' && !/:[0-9]+$/.test(parsed)) throw ruleBroken('target_form', 'CONNECT names no port');
    if (host !== undefined && host !== parsed) throw ruleBroken('host_differs', 'Host differs from :authority');
    return parsed;
  }

  #contentLength(hasEnded: boolean): number {
    const count = this.fieldCount('content-length');
    if (count === 0) return hasEnded && methodsWithBody.has(this.method) ? 0 : -1;
    const length = contentLengthOf(this, count);
    if (this.form === 'authority' || this.upgrade !== undefined)
      throw ruleBroken('connect_body', 'CONNECT states the length of a body');
    if (hasEnded && length !== 0) throw ruleBroken('content_length', 'Content-Length is not that of the body');
    return length;
  }
}

function takePseudoFields(fields: readonly DecodedField[], into: PseudoFields): number {
  let count = 0;
  for (const { name, value, isPseudo } of fields) {
    if (!isPseudo) break;
    count++;
    // A switch, not a table: names that are not among those of all objects would be hashed and looked up.
    switch (name) {
      case ':method':
        into.method = once(into.method, name, value);
        break;
      case ':scheme':
        into.scheme = once(into.scheme, name, value);
        break;
      case ':authority':
        into.authority = once(into.authority, name, value);
        break;
      case ':path':
        into.path = once(into.path, name, value);
        break;
      case ':protocol':
        into.protocol = once(into.protocol, name, value);
        break;
      default:
        throw ruleBroken('pseudo_field', 'a pseudo-header field is not one of requests');
    }
  }
  return count;
}

function once(before: string | undefined, name: string, value: string): string {
  if (before !== undefined) throw ruleBroken('pseudo_field', `${name} is given more than once`);
  return value;
}

function methodOf({ method }: PseudoFields): string {
  if (method === undefined || !methodPattern.test(method)) throw ruleBroken('method', ':method is missing or no token');
  return method;
}

/** RFC 8441 4. */
function protocolOf({ method, protocol }: PseudoFields, hasEnded: boolean): Upgrade | undefined {
  if (protocol === undefined) return undefined;
  if (method !== 'CONNECT') throw ruleBroken('pseudo_field', ':protocol stands in a request that is no CONNECT');
  if (protocol !== 'websocket') throw ruleBroken('protocol', 'the only :protocol is websocket');
  if (hasEnded) throw ruleBroken('upgrade', 'a request for WebSocket ends its stream');
  return protocol;
}

function targetOf(method: string, pseudo: PseudoFields, limits: HttpLimits): { form: TargetForm; path: string } {
  const { scheme, path } = pseudo;
  if (method === 'CONNECT') {
    if (scheme !== undefined || path !== undefined) {
      throw ruleBroken('pseudo_field', 'CONNECT has neither :scheme nor :path');
    }
    return { form: 'authority', path: '' };
  }
  if (scheme !== 'https' && scheme !== 'http') throw ruleBroken('pseudo_field', ':scheme is neither https nor http');
  if (path === undefined) throw ruleBroken('pseudo_field', ':path is missing');
  if (path.length > limits.lineBytesMax) {
    throw ruleBroken('request_line_size', `:path is longer than ${limits.lineBytesMax} bytes`);
  }
  if (path === '*' && method === 'OPTIONS') return { form: 'asterisk', path };
  if (!pathPattern.test(path)) throw ruleBroken('target_bytes', ':path is empty or has a byte that no URI has');
  return { form: 'origin', path };
}
