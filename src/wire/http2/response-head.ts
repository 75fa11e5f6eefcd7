import { contentLengthOf } from '../body-framing.ts';
import type { HttpLimits } from '../limits.ts';
import type { Framing, ResponseHead } from '../message.ts';
import { statusText } from '../status-text.ts';
import { ruleBroken } from '../wire-error.ts';
import type { DecodedBlock } from './hpack-decoder.ts';
import { Http2Fields } from './http2-fields.ts';

const statusPattern = /^[1-5][0-9][0-9]$/;

/** The head of an HTTP/2 response (RFC 9113 8.3.2). */
export class Http2ResponseHead extends Http2Fields implements ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly framing: Framing;
  readonly contentLength: number;

  /**
   * `method` is the request's, which decides whether a body follows.
   * @throws WireError
   */
  constructor({ fields, problem }: DecodedBlock, hasEnded: boolean, limits: HttpLimits, method: string) {
    if (problem !== undefined) throw problem;
    const [first, second] = fields;
    if (first?.name !== ':status' || !statusPattern.test(first.value) || second?.isPseudo === true) {
      throw ruleBroken('pseudo_field', 'a response begins with one :status of three digits and nothing else');
    }
    super(fields.slice(1), limits.lineBytesMax);
    this.status = Number(first.value);
    if (this.status === 101) throw ruleBroken('unexpected_switch', 'HTTP/2 has no status 101');
    this.reason = statusText(this.status);
    const count = this.fieldCount('content-length');
    this.contentLength = count === 0 ? -1 : contentLengthOf(this, count);
    const hasBody = method !== 'HEAD' && this.status >= 200 && this.status !== 204 && this.status !== 304;
    if (hasEnded && hasBody && this.contentLength > 0) {
      throw ruleBroken('content_length', 'Content-Length is not that of the body');
    }
    this.framing = !hasBody || hasEnded ? 'none' : this.contentLength >= 0 ? 'length' : 'chunked';
  }
}
