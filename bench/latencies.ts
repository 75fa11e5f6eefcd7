import type { LoadResult } from './load.ts';

/** What one order brought, request by request. */
export class Latencies {
  readonly #millis: number[] = [];
  readonly #startedAt = performance.now();
  #failures = 0;
  #firstFailure: string | undefined;

  /** `failure` says what went wrong; undefined for nothing. */
  readonly record = (latencyMs: number, failure: string | undefined): void => {
    if (failure === undefined) {
      this.#millis.push(latencyMs);
      return;
    }
    this.#failures++;
    this.#firstFailure ??= failure;
  };

  get elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }

  result(): LoadResult {
    const elapsedMs = this.elapsedMs;
    const sorted = Float64Array.from(this.#millis).sort();
    const quantile = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
    return {
      requests: sorted.length,
      failures: this.#failures,
      elapsedMs,
      p50Millis: quantile(0.5),
      p99Millis: quantile(0.99),
      p999Millis: quantile(0.999),
      ...(this.#firstFailure !== undefined && { firstFailure: this.#firstFailure }),
    };
  }
}
