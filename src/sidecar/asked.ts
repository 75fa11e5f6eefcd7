import type { ExchangeEndListener, ExchangeOutcome, ServerExchange } from '#wire/exchange.ts';
import type { DecisionLog, OpenRecord } from './decision-log.ts';
import type { RequestSpan } from './request-span.ts';

/** What the path of one request knows, filled from top to bottom: its record is complete when the exchange ends. */
export class Asked<Context> implements ExchangeEndListener {
  readonly exchange: ServerExchange<Context>;
  readonly record: OpenRecord;
  /** Of a request that is sampled. */
  span: RequestSpan | undefined = undefined;
  readonly #decisions: DecisionLog;

  constructor(decisions: DecisionLog, exchange: ServerExchange<Context>, record: OpenRecord) {
    this.#decisions = decisions;
    this.exchange = exchange;
    this.record = record;
    exchange.endListener = this;
  }

  onEnd(outcome: ExchangeOutcome): void {
    this.#decisions.end(this.record, outcome, this.span);
  }
}
