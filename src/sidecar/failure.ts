import { failureReasons } from '#policy/failure-reasons.ts';
import type { ServerExchange } from '#wire/exchange.ts';
import type { WireError } from '#wire/wire-error.ts';
import type { OpenRecord } from './decision-log.ts';
import { answerDenial } from './denial-response.ts';

/**
 * A permitted request that did not come through to the application. What one that goes away (`isLeaving`) has not taken another instance may have;
 * where the protocol cannot say so, or the application may have seen it, it is answered.
 */
export function applicationFailed(
  exchange: ServerExchange<unknown>,
  record: OpenRecord,
  error: WireError,
  isLeaving: boolean,
): void {
  if (!isLeaving || !error.retryable || exchange.refuse === undefined) return answerFailure(exchange, record, error);
  record.reason = failureReasons[error.code];
  exchange.refuse(error);
}

/** A permitted request that did not come through: by its own body, or by what lies behind. */
export function answerFailure(exchange: ServerExchange<unknown>, record: OpenRecord, error: WireError): void {
  record.reason = failureReasons[error.code];
  const fields = error.status === 503 ? { 'retry-after': '1' } : undefined;
  answerDenial(exchange, {
    reason: record.reason,
    decisionId: record.id,
    status: error.status,
    ...(fields && { fields }),
  });
}
