import { fieldIds } from './field-names.ts';
import type { Fields, Framing } from './message.ts';
import { ruleBroken } from './wire-error.ts';

/** They stay below 2^53: every count of bytes is exact. */
const contentLengthDigitsMax = 15;
const zero = 48;
const lengthId = fieldIds['content-length'];
const codingId = fieldIds['transfer-encoding'];

interface FramingFields {
  readonly framing: Exclude<Framing, 'until-close'>;
  readonly contentLength: number;
}

const noFraming: FramingFields = { framing: 'none', contentLength: -1 };
const chunkedFraming: FramingFields = { framing: 'chunked', contentLength: -1 };

/**
 * The one framing that the fields state. Whatever two readers could understand differently (RFC 9112 6.3, RFC 9110 8.6) is
 * refused: both fields together, a repeated or listed length even with equal values, any coding but one `chunked`.
 */
export function framingOf(fields: Fields): FramingFields {
  const lengths = fields.countById(lengthId);
  const codings = fields.countById(codingId);
  if (lengths + codings === 0) return noFraming;
  if (codings === 0) return { framing: 'length', contentLength: contentLengthOf(fields, lengths) };
  if (lengths !== 0) throw ruleBroken('length_and_encoding', 'both Content-Length and Transfer-Encoding are given');
  if (codings !== 1 || fields.fieldById(codingId)!.toLowerCase() !== 'chunked') {
    throw ruleBroken('transfer_encoding', 'the only transfer coding is one "chunked"');
  }
  return chunkedFraming;
}

export function contentLengthOf(fields: Fields, count: number): number {
  if (count !== 1) throw ruleBroken('content_length_repeated', 'Content-Length is given more than once');
  const length = plainNumber(fields.fieldById(lengthId)!);
  if (length < 0) throw ruleBroken('content_length', 'Content-Length is not a plain number');
  return length;
}

/** -1 for anything but a few digits. */
function plainNumber(text: string): number {
  if (text === '' || text.length > contentLengthDigitsMax) return -1;
  let number = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - zero;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
  }
  return number;
}

/** `TE` lists codings too; only this member of it concerns a proxy (RFC 9110 10.1.4). */
export function acceptsTrailers(fields: Fields): boolean {
  const codings = fields.fieldById(fieldIds.te);
  return codings !== undefined && /(?:^|,)[\t ]*trailers[\t ]*(?:$|[,;])/i.test(codings);
}

/** Whether the client waits for 100 Continue. @throws WireError `expectation` for any other expectation (RFC 9110 10.1.1) */
export function expectsContinue(fields: Fields): boolean {
  const expect = fields.field('expect');
  if (expect === undefined) return false;
  if (fields.fieldCount('expect') !== 1 || expect.toLowerCase() !== '100-continue') {
    throw ruleBroken('expectation', 'the only expectation is one 100-continue');
  }
  return true;
}
