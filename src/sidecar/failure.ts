import type { Reason } from '#policy/reasons.ts';
import type { ServerExchange } from '#wire/exchange.ts';
import type { WireError, WireErrorCode } from '#wire/wire-error.ts';
import type { OpenRecord } from './decision-log.ts';
import { answerDenial } from './denial-response.ts';

/** What the engine tells apart, in the words of decisions. A client that went away (`exchange_aborted`) is told nothing. */
export const wireReasons: Readonly<Record<WireErrorCode, Reason>> = {
  message_malformed: 'message_malformed',
  message_too_large: 'message_too_large',
  message_timeout: 'message_timeout',
  upstream_unreachable: 'upstream_unreachable',
  upstream_failed: 'upstream_failed',
  upstream_malformed: 'upstream_malformed',
  upstream_timeout: 'upstream_timeout',
  upstream_overloaded: 'overloaded',
  exchange_aborted: 'upstream_failed',
};

/** A permitted request that did not come through: by its own body, or by what lies behind. */
export function answerFailure(exchange: ServerExchange<unknown>, record: OpenRecord, error: WireError): void {
  record.reason = wireReasons[error.code];
  answerDenial(exchange, { reason: record.reason, decisionId: record.id, status: error.status });
}
