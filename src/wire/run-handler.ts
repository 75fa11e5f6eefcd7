import type { ExchangeHandler, ServerExchange } from './exchange.ts';
import { respond } from './respond.ts';
import { WireError } from './wire-error.ts';

/** Calls the handler; one that throws or rejects harms its own exchange only. `onFault` hears the error. */
export function runHandler<Context>(
  handler: ExchangeHandler<Context>,
  exchange: ServerExchange<Context>,
  onFault: (exchange: ServerExchange<Context>, error: unknown) => void,
): void {
  try {
    const handled = handler(exchange);
    if (handled instanceof Promise) handled.catch((error: unknown) => onFault(exchange, error));
  } catch (error) {
    onFault(exchange, error);
  }
}

/** 500 where nothing was sent; else a broken message, never one that looks complete. */
export function endFaulted(exchange: ServerExchange<unknown>, cause: unknown): void {
  if (exchange.ended) return;
  const error = new WireError('exchange_aborted', 'serving the request failed', { cause, status: 500 });
  if (exchange.responded) exchange.abort(error);
  else respond(exchange, { status: error.status });
}
