import { fieldSet, unionOf } from '../field-names.ts';
import type { HttpLimits } from '../limits.ts';
import { ruleBroken, WireError } from '../wire-error.ts';
import { FieldSection } from './field-section.ts';
import { scanBytes, scanFields, scanned } from './scan-head.ts';

/**
 * Never taken from a trailer section (RFC 9110 6.5.1): framing, routing, authentication, caching, controls, the content's own
 * description, and everything of the mesh. What a receiver merges into its head must not be able to change a decision.
 */
const forbiddenTrailers = unionOf(
  fieldSet(
    'host',
    'trailer',
    'authorization',
    'traceparent',
    'tracestate',
    'forwarded',
    'via',
    'date',
    'cellmesh-*',
    '*_*',
  ),
  fieldSet(
    'x-forwarded-client-cert',
    'x-forwarded-for',
    'x-forwarded-host',
    'x-forwarded-proto',
    'cookie',
    'set-cookie',
    'www-authenticate',
    'content-encoding',
    'content-type',
    'content-range',
    'content-location',
    'cache-control',
    'pragma',
    'age',
    'expires',
    'vary',
    'location',
    'retry-after',
    'range',
    'if-match',
    'if-none-match',
    'if-modified-since',
    'if-unmodified-since',
    'if-range',
    'max-forwards',
    'origin',
    'referer',
  ),
);

/**
 * Trailer lines fit to forward, of a section that ends with its blank line.
 * @throws WireError `trailer`, `trailer_size`
 */
export function readTrailers(section: readonly number[], limits: HttpLimits): string {
  scanBytes.set(section);
  try {
    scanFields(0, section.length, limits);
    return new FieldSection(scanBytes.toString('latin1', 0, scanned.end)).linesExcept(forbiddenTrailers);
  } catch (error) {
    if (error instanceof WireError && error.status === 400) throw ruleBroken('trailer', error.message);
    throw error;
  }
}
