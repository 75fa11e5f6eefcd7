import { failureReasons } from '#policy/failure-reasons.ts';
import type { ServerExchange } from '#wire/exchange.ts';
import type { WireError } from '#wire/wire-error.ts';
import type { OpenRecord } from './decision-log.ts';
import { answerDenial } from './denial-response.ts';

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
