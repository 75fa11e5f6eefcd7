import { fieldSet, unionOf } from './field-names.ts';

/**
 * Never taken from a trailer section (RFC 9110 6.5.1): framing, routing, authentication, caching, controls, the content's own
 * description, and everything of the mesh. What a receiver merges into its head must not be able to change a decision.
 */
export const forbiddenTrailers = unionOf(
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
