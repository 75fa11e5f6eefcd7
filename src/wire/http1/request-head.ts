import { acceptsTrailers, expectsContinue, framingOf } from '../body-framing.ts';
import { fieldIds } from '../field-names.ts';
import type { HttpLimits } from '../limits.ts';
import type { RequestHead, TargetForm } from '../message.ts';
import { effectiveAuthority, parseAuthority, parseTarget } from '../target.ts';
import { type Upgrade, upgradeOf } from '../websocket.ts';
import { ruleBroken } from '../wire-error.ts';
import { FieldSection } from './field-section.ts';
import { scanBytes, scanned, scanRequestHead } from './scan-head.ts';

const { host: hostId, expect: expectId, te: teId } = fieldIds;
const commonMethods = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'CONNECT'] as const;

/** The head of an HTTP/1.1 request. Its fields and its framing are known to be unambiguous. */
export class Http1RequestHead extends FieldSection implements RequestHead {
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

  constructor(text: string) {
    super(text);
    this.method = methodOf(text);
    this.target = text.slice(scanned.targetStart, scanned.targetEnd);
    const target = parseTarget(this.method, this.target);
    this.form = target.form;
    this.path = target.path;
    this.authority = effectiveAuthority(target, this.#host());
    const { framing, contentLength } = framingOf(this);
    this.framing = framing;
    this.contentLength = contentLength;
    if (this.method === 'CONNECT' && framing !== 'none' && contentLength !== 0) {
      throw ruleBroken('connect_body', 'CONNECT has a body');
    }
    this.expectsContinue =
      this.countById(expectId) !== 0 && expectsContinue(this) && (framing === 'chunked' || contentLength > 0);
    this.acceptsTrailers = this.countById(teId) !== 0 && acceptsTrailers(this);
    this.upgrade = this.isUpgrade ? upgradeOf(this, this.method, framing !== 'none' && contentLength !== 0) : undefined;
  }

  #host(): string {
    const count = this.countById(hostId);
    if (count === 0) throw ruleBroken('host_missing', 'Host is missing');
    if (count !== 1) throw ruleBroken('host_repeated', 'Host is given more than once');
    return parseAuthority(this.fieldById(hostId)!);
  }
}

/**
 * Reads a request head from the start of the scan buffer, filled by `HeldBytes.loadForScan`.
 * @returns undefined when it is not complete
 * @throws WireError when it breaks a rule
 */
export function readRequestHead(length: number, limits: HttpLimits): Http1RequestHead | undefined {
  const end = scanRequestHead(length, limits);
  return end === 0 ? undefined : new Http1RequestHead(scanBytes.toString('latin1', 0, end));
}

function methodOf(text: string): string {
  for (const method of commonMethods) {
    if (scanned.methodEnd === method.length && text.startsWith(method)) return method;
  }
  return text.slice(0, scanned.methodEnd);
}
