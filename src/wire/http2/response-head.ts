import { contentLengthOf } from '../body-framing.ts';
import { fieldIds } from '../field-names.ts';
import type { HttpLimits } from '../limits.ts';
import type { Framing, ResponseHead } from '../message.ts';
import { statusText } from '../status-text.ts';
import { ruleBroken } from '../wire-error.ts';
import type { DecodedBlock } from './decoded-block.ts';
import { Http2Fields } from './http2-fields.ts';

/** The head of an HTTP/2 response (RFC 9113 8.3.2). */
export class Http2ResponseHead extends Http2Fields implements ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly framing: Framing;
  readonly contentLength: number;
  /** The stream ended with it. */
  readonly hasEnded: boolean;
  /** Of the request. */
  readonly method: string;

  /**
   * `method` is the request's, which decides whether a body follows.
   * @throws WireError
   */
  constructor({ fields, problem }: DecodedBlock, hasEnded: boolean, limits: HttpLimits, method: string) {
    if (problem !== undefined) throw problem;
    const [first, second] = fields;
    const status = first?.name === ':status' ? statusOf(first.value) : 0;
    if (status === 0 || second?.isPseudo === true) {
      throw ruleBroken('pseudo_field', 'a response begins with one :status of three digits and nothing else');
    }
    super(fields, 1, limits.lineBytesMax);
    this.hasEnded = hasEnded;
    this.method = method;
    this.status = status;
    if (this.status === 101) throw ruleBroken('unexpected_switch', 'HTTP/2 has no status 101');
    this.reason = statusText(this.status);
    const hasLength = this.has(fieldIds['content-length']);
    this.contentLength = hasLength ? contentLengthOf(this, this.countById(fieldIds['content-length'])) : -1;
    const hasBody = method !== 'HEAD' && this.status >= 200 && this.status !== 204 && this.status !== 304;
    if (hasEnded && hasBody && this.contentLength > 0) {
      throw ruleBroken('content_length', 'Content-Length is not that of the body');
    }
    this.framing = !hasBody || hasEnded ? 'none' : this.contentLength >= 0 ? 'length' : 'chunked';
  }
}

/** `limits`: of the connection. @throws WireError */
export function responseHeadOf(
  block: DecodedBlock,
  hasEnded: boolean,
  limits: HttpLimits,
  method: string,
): Http2ResponseHead {
  const { message } = block;
  if (message instanceof Http2ResponseHead && message.hasEnded === hasEnded && message.method === method)
    return message;
  const head = new Http2ResponseHead(block, hasEnded, limits, method);
  block.message = head;
  return head;
}

/** Three digits, the first from 1 to 5, as a number; 0 for anything else. */
function statusOf(text: string): number {
  if (text.length !== 3) return 0;
  const first = text.charCodeAt(0) - 0x30;
  const second = text.charCodeAt(1) - 0x30;
  const third = text.charCodeAt(2) - 0x30;
  if (first < 1 || first > 5 || second < 0 || second > 9 || third < 0 || third > 9) return 0;
  return first * 100 + second * 10 + third;
}
