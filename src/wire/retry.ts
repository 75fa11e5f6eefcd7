import type { Upstream } from './exchange.ts';
import type { WireError } from './wire-error.ts';

export interface NextAttempt {
  readonly upstream: Upstream;
  /** How many there were before: what `retry-attempt` says. */
  readonly retries: number;
  readonly afterMs: number;
}

/** Hears how attempts go, and says what comes after one that failed. */
export interface Retry {
  /** Whether an answer with `status` may be thrown away. Asked for the request whose body is still there. */
  mayRetry(status: number): boolean;
  /** Nothing has reached the client, and the request can be sent again. Either `error` or `status` is there. */
  next(failed: { readonly error?: WireError; readonly status?: number }): NextAttempt | undefined;
  /** The whole request has been sent: what passes from now on is the upstream's time. */
  sent(): void;
  /** The response has begun that goes to the client. */
  answered(status: number): void;
  /** Called once, last: the exchange is over, with this error if it was the upstream's. */
  over(error: WireError | undefined): void;
}
