import { type Reason, statusOf } from '#policy/reasons.ts';
import type { ServerExchange } from '#wire/exchange.ts';
import { type GeneratedResponse, respond } from '#wire/respond.ts';

interface DenialAnswer {
  readonly reason: Reason;
  readonly decisionId: string;
  /** Overrides the status of the reason: the engine tells kinds of bad messages apart. */
  readonly status?: number;
  readonly fields?: Readonly<Record<string, string>>;
}

/** Answers without the application. */
export function answerDenial(exchange: ServerExchange<unknown>, answer: DenialAnswer): void {
  if (!exchange.ended && !exchange.responded) respond(exchange, denialResponse(answer));
}

/** Status, the reason's code and the decision's id, nothing of what the sidecar knows. Who may know more asks `explain` with the id. */
export function denialResponse(answer: DenialAnswer): GeneratedResponse {
  const { reason, decisionId, status = statusOf(reason), fields } = answer;
  const challenge = challengeFor(reason, status);
  return {
    status,
    fields: {
      'content-type': 'application/json',
      'cellmesh-decision': decisionId,
      ...(challenge === undefined ? {} : { 'www-authenticate': challenge }),
      ...fields,
    },
    body: `${JSON.stringify({ reason, decision: decisionId })}\n`,
  };
}

/** RFC 6750 3: a request without credentials gets no error code; 3.1: the codes of the others. */
function challengeFor(reason: Reason, status: number): string | undefined {
  switch (reason) {
    case 'token_missing':
      return 'Bearer realm="cellmesh"';
    case 'scope_missing':
    case 'scope_not_carried':
      return 'Bearer realm="cellmesh", error="insufficient_scope"';
    default:
      return status === 401 ? 'Bearer realm="cellmesh", error="invalid_token"' : undefined;
  }
}
