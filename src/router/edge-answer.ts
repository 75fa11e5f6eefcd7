import { failureReasons } from '#policy/failure-reasons.ts';
import type { OpenRecord } from '#policy/open-record.ts';
import { type Reason, statusOf } from '#policy/reasons.ts';
import type { ServerExchange } from '#wire/exchange.ts';
import { type GeneratedResponse, respond } from '#wire/respond.ts';
import type { WireError } from '#wire/wire-error.ts';

interface EdgeDenial {
  readonly reason: Reason;
  readonly decisionId: string;
  readonly retryAfterSeconds?: number | undefined;
  /** Overrides the status of the reason: the engine tells kinds of bad messages apart. */
  readonly status?: number;
}

/** Answers a customer with a denial. */
export function answerDenial(exchange: ServerExchange<unknown>, denial: EdgeDenial): void {
  if (!exchange.ended && !exchange.responded) respond(exchange, denialResponse(denial));
}

/** What a customer is told: status, code and decision id. For every defect of credentials it is the same text. */
export function denialResponse(denial: EdgeDenial): GeneratedResponse {
  const { reason, decisionId, retryAfterSeconds, status = statusOf(reason) } = denial;
  return {
    status,
    fields: {
      'content-type': 'application/json',
      'cellmesh-decision': decisionId,
      'www-authenticate': status === 401 ? 'Basic realm="cellmesh", charset="UTF-8"' : undefined,
      'retry-after': retryAfterSeconds === undefined ? undefined : String(retryAfterSeconds),
    },
    body: `${JSON.stringify({ reason, decision: decisionId })}\n`,
  };
}

/** The cell could not answer, or the request's body could not be read. */
export function answerFailure(exchange: ServerExchange<unknown>, record: OpenRecord, error: WireError): void {
  record.reason = failureReasons[error.code];
  const retryAfterSeconds = error.status === 503 ? 1 : undefined;
  answerDenial(exchange, { reason: record.reason, decisionId: record.id, status: error.status, retryAfterSeconds });
}
