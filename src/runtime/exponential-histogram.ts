import type { Sample } from './metrics.ts';

/** Upper bounds are 2 ** (k / 2): those of a Prometheus native histogram of schema 1, so that no quantile is further off than a fifth. */
const bucketsPerOctave = 2;
/** 0.24 ms. */
const lowest = -24;
/** 32 s; what is longer is in the last bucket, which has no bound. */
const highest = 10;
const bounds = Array.from({ length: highest - lowest + 1 }, (_, k) => 2 ** ((lowest + k) / bucketsPerOctave));

/** Counts seconds in buckets that grow with them. */
export class ExponentialHistogram {
  readonly #counts = new Float64Array(bounds.length + 1);
  #sum = 0;

  observe(seconds: number): void {
    const index = Math.ceil(bucketsPerOctave * Math.log2(seconds)) - lowest;
    // Zero has no logarithm; nothing is below the first bucket.
    this.#counts[index > 0 ? Math.min(index, bounds.length) : 0]!++;
    this.#sum += seconds;
  }

  /** As the text format of Prometheus has it: how many are at or below each bound, then their sum and number. */
  samples(labels: Readonly<Record<string, string>>): Sample[] {
    let count = 0;
    const buckets = [...this.#counts].map((inBucket, index) => {
      count += inBucket;
      const bound = bounds[index];
      return {
        suffix: '_bucket',
        labels: { ...labels, le: bound === undefined ? '+Inf' : textOf(bound) },
        value: count,
      };
    });
    return [...buckets, { suffix: '_sum', labels, value: this.#sum }, { suffix: '_count', labels, value: count }];
  }
}

function textOf(bound: number): string {
  return String(Number(bound.toPrecision(6)));
}
