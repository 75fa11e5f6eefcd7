import { contentLengthOf, expectsContinue } from '../body-framing.ts';
import { fieldIds } from '../field-names.ts';
import type { HttpLimits } from '../limits.ts';
import type { RequestHead, TargetForm } from '../message.ts';
import { parseAuthority } from '../target.ts';
import type { Upgrade } from '../websocket.ts';
import { ruleBroken } from '../wire-error.ts';
import type { DecodedBlock } from './decoded-block.ts';
import type { DecodedField } from './decoded-field.ts';
import { Http2Fields } from './http2-fields.ts';

/** As the target of HTTP/1.1 in `scan-head.ts`: visible ASCII without `#`, `"`, `<` and `>`. */
const pathPattern = /^\/[!$-;=?-~]*$/;
const methodPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,24}$/;
/** With these an empty body is said to be one, so that a server does not wait for it (RFC 9110 8.6). */
const methodsWithBody: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

interface PseudoFields {
  method: DecodedField | undefined;
  scheme: DecodedField | undefined;
  authority: DecodedField | undefined;
  path: DecodedField | undefined;
  protocol: DecodedField | undefined;
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
  /** The stream ended with it. */
  readonly hasEnded: boolean;

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
    super(fields, count, limits.lineBytesMax);
    this.hasEnded = hasEnded;
    this.method = methodOf(pseudo);
    this.upgrade = protocolOf(pseudo, hasEnded);
    // An extended CONNECT is to a policy what the upgrade of HTTP/1.1 is: a GET.
    if (this.upgrade !== undefined) this.method = 'GET';
    const { form, path } = targetOf(this.method, pseudo, limits);
    this.form = form;
    this.path = path;
    this.authority = this.#authority(pseudo.authority?.value);
    this.target = form === 'authority' ? this.authority : path;
    const length = this.#contentLength(hasEnded);
    this.framing = length >= 0 ? 'length' : hasEnded || this.upgrade !== undefined ? 'none' : 'chunked';
    this.contentLength = length;
    this.expectsContinue = this.has(fieldIds.expect) && expectsContinue(this) && !hasEnded;
    // `TE` says nothing else in HTTP/2.
    this.acceptsTrailers = this.has(fieldIds.te);
  }

  /** `Host` counts where there is no `:authority`, and must not differ from it. */
  #authority(authority: string | undefined): string {
    const host = this.has(fieldIds.host) ? this.#host() : undefined;
    if (authority === undefined) {
      if (host === undefined) throw ruleBroken('host_missing', 'neither :authority nor Host is given');
      return host;
    }
    const parsed = parseAuthority(authority);
    if (this.form === 'authority' && !/:[0-9]+$/.test(parsed)) throw ruleBroken('target_form', 'CONNECT names no port');
    if (host !== undefined && host !== parsed) throw ruleBroken('host_differs', 'Host differs from :authority');
    return parsed;
  }

  #host(): string {
    if (this.countById(fieldIds.host) > 1) throw ruleBroken('host_repeated', 'Host is given more than once');
    return parseAuthority(this.fieldById(fieldIds.host)!);
  }

  #contentLength(hasEnded: boolean): number {
    if (!this.has(fieldIds['content-length'])) return hasEnded && methodsWithBody.has(this.method) ? 0 : -1;
    const length = contentLengthOf(this, this.countById(fieldIds['content-length']));
    if (this.form === 'authority' || this.upgrade !== undefined)
      throw ruleBroken('connect_body', 'CONNECT states the length of a body');
    if (hasEnded && length !== 0) throw ruleBroken('content_length', 'Content-Length is not that of the body');
    return length;
  }
}

/** `limits`: of the connection. @throws WireError */
export function requestHeadOf(block: DecodedBlock, hasEnded: boolean, limits: HttpLimits): Http2RequestHead {
  const { message } = block;
  if (message instanceof Http2RequestHead && message.hasEnded === hasEnded) return message;
  const head = new Http2RequestHead(block, hasEnded, limits);
  block.message = head;
  return head;
}

function takePseudoFields(fields: readonly DecodedField[], into: PseudoFields): number {
  let count = 0;
  for (const field of fields) {
    if (!field.isPseudo) break;
    count++;
    // A switch, not a table: names that are not among those of all objects would be hashed and looked up.
    switch (field.name) {
      case ':method':
        into.method = once(into.method, field);
        break;
      case ':scheme':
        into.scheme = once(into.scheme, field);
        break;
      case ':authority':
        into.authority = once(into.authority, field);
        break;
      case ':path':
        into.path = once(into.path, field);
        break;
      case ':protocol':
        into.protocol = once(into.protocol, field);
        break;
      default:
        throw ruleBroken('pseudo_field', 'a pseudo-header field is not one of requests');
    }
  }
  return count;
}

function once(before: DecodedField | undefined, field: DecodedField): DecodedField {
  if (before !== undefined) throw ruleBroken('pseudo_field', `${field.name} is given more than once`);
  return field;
}

function methodOf({ method }: PseudoFields): string {
  if (method === undefined || !isSound(method, methodPattern)) {
    throw ruleBroken('method', ':method is missing or no token');
  }
  return method.value;
}

/** Entries of a table are looked at once, not for each head that refers to them. */
function isSound(field: DecodedField, pattern: RegExp): boolean {
  field.isSound ??= pattern.test(field.value);
  return field.isSound;
}

/** RFC 8441 4. */
function protocolOf({ method, protocol }: PseudoFields, hasEnded: boolean): Upgrade | undefined {
  if (protocol === undefined) return undefined;
  if (method?.value !== 'CONNECT') throw ruleBroken('pseudo_field', ':protocol stands in a request that is no CONNECT');
  if (protocol.value !== 'websocket') throw ruleBroken('protocol', 'the only :protocol is websocket');
  if (hasEnded) throw ruleBroken('upgrade', 'a request for WebSocket ends its stream');
  return protocol.value;
}

function targetOf(method: string, pseudo: PseudoFields, limits: HttpLimits): { form: TargetForm; path: string } {
  const scheme = pseudo.scheme?.value;
  const path = pseudo.path?.value;
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
  if (!isSound(pseudo.path!, pathPattern))
    throw ruleBroken('target_bytes', ':path is empty or has a byte that no URI has');
  return { form: 'origin', path };
}
