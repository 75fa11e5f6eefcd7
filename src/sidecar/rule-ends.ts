import type { PolicySnapshot } from '#policy/snapshot.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';

/** A timer cannot wait for longer. */
const waitMsMax = 24 * 3600_000;

/** Tells when a rule of the policy in force ends, or its time for callers without TLS, so that what was allowed by it and is still open can be decided again. */
export class RuleEnds implements Disposable {
  readonly #clock: Clock;
  readonly #onEnd: () => void;
  #timer: Scheduled | undefined;

  constructor(clock: Clock, onEnd: () => void) {
    this.#clock = clock;
    this.#onEnd = onEnd;
  }

  watch(snapshot: PolicySnapshot | undefined): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (snapshot === undefined) return;
    const now = this.#clock.now();
    const rules = [...snapshot.rules, ...(snapshot.candidate?.rules ?? [])];
    const ends = [snapshot.plaintextUntilMs, ...rules.map(({ untilMs }) => untilMs)];
    let next = Number.POSITIVE_INFINITY;
    for (const untilMs of ends) if (untilMs !== undefined && untilMs > now && untilMs < next) next = untilMs;
    if (next === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#clock.schedule(Math.min(next - now, waitMsMax), () => {
      if (this.#clock.now() >= next) this.#onEnd();
      this.watch(snapshot);
    });
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
  }
}
