import { contentLengthOf, framingOf } from '../body-framing.ts';
import { fieldIds } from '../field-names.ts';
import type { HttpLimits } from '../limits.ts';
import type { Framing, ResponseHead } from '../message.ts';
import { ruleBroken } from '../wire-error.ts';
import { FieldSection } from './field-section.ts';
import { scanBytes, scanned, scanResponseHead } from './scan-head.ts';

const lengthId = fieldIds['content-length'];
const codingId = fieldIds['transfer-encoding'];

/** The head of an HTTP/1.1 response, or of an HTTP/1.0 one, after which the connection ends. */
export class Http1ResponseHead extends FieldSection implements ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly framing: Framing;
  readonly contentLength: number;
  /** Another response may follow on the connection. */
  readonly keepsConnection: boolean;

  constructor(text: string, method: string) {
    super(text);
    this.status = scanned.status;
    this.reason = text.slice(scanned.reasonStart, scanned.reasonEnd);
    const isOld = scanned.minorVersion === 0;
    if (isOld && this.countById(codingId) !== 0) {
      throw ruleBroken('transfer_encoding', 'HTTP/1.0 has no transfer codings');
    }
    const hasBody = mayHaveBody(this.status, method);
    const { framing, contentLength } = hasBody ? framingOf(this) : bodylessFraming(this);
    this.framing = hasBody && framing === 'none' ? 'until-close' : framing;
    this.contentLength = contentLength;
    const isClean = hasBody || method === 'HEAD' || this.countById(codingId) === 0;
    this.keepsConnection = !isOld && !this.isClose && isClean && this.framing !== 'until-close';
  }
}

/** RFC 9112 6.3, rules 1 and 2. */
function mayHaveBody(status: number, method: string): boolean {
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return false;
  return !(method === 'CONNECT' && status < 300);
}

function bodylessFraming(fields: FieldSection): { framing: 'none'; contentLength: number } {
  const lengths = fields.countById(lengthId);
  return { framing: 'none', contentLength: lengths === 0 ? -1 : contentLengthOf(fields, lengths) };
}

/** As `readRequestHead`; `method` is the request's, which decides whether a body follows. */
export function readResponseHead(length: number, limits: HttpLimits, method: string): Http1ResponseHead | undefined {
  const end = scanResponseHead(length, limits);
  return end === 0 ? undefined : new Http1ResponseHead(scanBytes.toString('latin1', 0, end), method);
}
