import type { Random } from '#runtime/random.ts';
import type { Balancer, Placement } from './balancer.ts';
import type { Instance } from './member.ts';

/** When a request may be sent again that an instance has perhaps begun to work on. */
interface RetryRule {
  /** In all, the first included. */
  readonly attemptsMax: number;
  /** The connection or the stream broke before a response. */
  readonly onReset: boolean;
  /** Answers that are as good as none. */
  readonly statuses: readonly number[];
}

/** What an engine says of a request that failed; the codes are those of its errors. */
interface Failure {
  readonly code: string;
  /** Nobody has looked at the request. */
  readonly retryable: boolean;
}

/** Nothing is sent twice that somebody may have seen. */
export const noRetries: RetryRule = { attemptsMax: 1, onReset: false, statuses: [] };

/** One instance that cannot be reached must not fail a request while others can; more than three say something about the network. */
const unseenAttemptsMax = 3;
/** An answer of this kind says that the instance is not well, whatever the request. */
const illStatuses: ReadonlySet<number> = new Set([502, 503, 504]);
/** Doubled with each attempt, and drawn from zero upwards: what failed together must not come back together. */
const pauseMs = 25;

interface AttemptsOptions<I extends Instance, U> {
  readonly balancer: Balancer<I>;
  readonly rule: RetryRule;
  readonly random: Random;
  /** How an instance is reached. */
  readonly upstreamOf: (instance: I) => U;
}

/** The tries of one request, one instance after the other. */
export class Attempts<I extends Instance, U> {
  readonly #options: AttemptsOptions<I, U>;
  #tried: readonly I[] = [];
  #placement: Placement<I> | undefined;

  constructor(options: AttemptsOptions<I, U>) {
    this.#options = options;
  }

  /** Where to send it first; undefined when no instance is known. `now`: by the balancer's clock, monotonic. */
  first(now?: number): U | undefined {
    const { balancer } = this.#options;
    balancer.budget.deposit();
    return this.#place(balancer.pick(this.#tried, now));
  }

  /** Whether an answer with `status` may be thrown away for another attempt. */
  mayRetry(status: number): boolean {
    const { statuses, attemptsMax } = this.#options.rule;
    return this.#tried.length < attemptsMax && statuses.includes(status);
  }

  /** An attempt failed: where to send it next, and after which pause; undefined when that was all. */
  next({ error, status }: { readonly error?: Failure; readonly status?: number }) {
    const { balancer, random } = this.#options;
    if (error !== undefined) this.#note(error);
    else if (status !== undefined) this.answered(status);
    this.#release();
    const isUnseen = error?.retryable === true;
    if (!this.#mayFollow(error, status) || !balancer.budget.withdraw()) return undefined;
    // What one instance could not be given another may take; what one could not answer it may answer a moment later.
    const upstream = this.#place(balancer.pick(this.#tried) ?? (isUnseen ? undefined : balancer.pick()));
    if (upstream === undefined) return undefined;
    const retries = this.#tried.length - 1;
    return { upstream, retries, afterMs: isUnseen ? 0 : random.fraction() * pauseMs * 2 ** (retries - 1) };
  }

  /** The whole request has been sent. */
  sent(): void {
    this.#placement?.sent();
  }

  /** The response that goes to the client has begun. */
  answered(status: number): void {
    this.#placement?.answered(illStatuses.has(status));
  }

  /** Nothing more comes: the response has ended, or failed half-way, or nobody wants it. */
  over(error: Failure | undefined): void {
    if (error !== undefined) this.#note(error);
    this.#release();
  }

  /** What our own queue refused, or the instance without a look, says nothing about its health. */
  #note({ code, retryable }: Failure): void {
    if (code === 'upstream_unreachable' || (code === 'upstream_timeout' && retryable)) this.#placement?.unreachable();
    else if (!retryable) this.#placement?.failed();
  }

  #mayFollow(error: Failure | undefined, status: number | undefined): boolean {
    const { attemptsMax, onReset } = this.#options.rule;
    const count = this.#tried.length;
    if (error?.retryable === true) return count < Math.max(unseenAttemptsMax, attemptsMax);
    if (error !== undefined) return onReset && error.code === 'upstream_failed' && count < attemptsMax;
    return status !== undefined && this.mayRetry(status);
  }

  #place(placement: Placement<I> | undefined): U | undefined {
    this.#placement = placement;
    if (placement === undefined) return undefined;
    // An array that is pushed to would get room for 17.
    this.#tried = this.#tried.length === 0 ? [placement.instance] : [...this.#tried, placement.instance];
    return this.#options.upstreamOf(placement.instance);
  }

  #release(): void {
    this.#placement?.release();
    this.#placement = undefined;
  }
}
