import type { ErrorCode } from '#runtime/error-codes.ts';
import type { Reason } from './reasons.ts';

/** What an HTTP engine tells apart, in the words of decisions. A client that went away (`exchange_aborted`) is told nothing. */
export const failureReasons = {
  message_malformed: 'message_malformed',
  message_too_large: 'message_too_large',
  message_timeout: 'message_timeout',
  upstream_unreachable: 'upstream_unreachable',
  upstream_failed: 'upstream_failed',
  upstream_malformed: 'upstream_malformed',
  upstream_timeout: 'upstream_timeout',
  upstream_overloaded: 'overloaded',
  exchange_aborted: 'upstream_failed',
} as const satisfies Partial<Record<ErrorCode, Reason>>;
