import { PeakEwma } from './peak-ewma.ts';

/** What a balancer must know of an instance. */
export interface Instance {
  readonly host: string;
  readonly port: number;
  readonly locality: string;
  readonly weight: number;
}

/** Failures in a row after which an instance is ejected. One that cannot be connected to is at once. */
const failuresMax = 5;
/** Times the number of ejections in a row: longer than a restart's worst moment, shorter than anybody's patience. */
const ejectionMs = 5_000;
const ejectionMsMax = 60_000;
/** An instance that was well for so long begins anew. */
const pardonMs = 60_000;
/** From this share of its weight a new instance grows to all of it, while its caches and its compiler warm up. */
const slowStartShare = 0.1;
const slowStartMs = 30_000;

/** One instance as its caller experiences it: how fast, how busy, how well. */
export class Member<I extends Instance> {
  instance: I;
  inFlight = 0;
  /** It is out until one request has proved it well. */
  isEjected = false;
  /** That request is under way. */
  isProbed = false;
  readonly #latency = new PeakEwma();
  #failures = 0;
  #ejections = 0;
  #ejectedAt = 0;
  #ejectedUntil = 0;
  #wellSince: number;

  /** `isNew`: others were there before it. */
  constructor(instance: I, now: number, isNew: boolean) {
    this.instance = instance;
    this.#wellSince = isNew ? now : Number.NEGATIVE_INFINITY;
  }

  weight(now: number): number {
    const age = now - this.#wellSince;
    const { weight } = this.instance;
    return age >= slowStartMs ? weight : weight * (slowStartShare + (1 - slowStartShare) * (age / slowStartMs));
  }

  /** What one more request would meet here; of an instance that was never measured, by what the others took (`usualMs`). */
  cost(now: number, usualMs: number): number {
    const latency = this.#latency.isMeasured ? this.#latency.at(now) : usualMs;
    return ((latency + 0.01) * (this.inFlight + 1)) / this.weight(now);
  }

  /** Its time out is over, and nobody is trying it yet. */
  wantsProbe(now: number): boolean {
    return this.isEjected && now >= this.#ejectedUntil && !this.isProbed;
  }

  observe(latencyMs: number, now: number): void {
    this.#latency.observe(latencyMs, now);
  }

  /** A request that began at `startedAt`; one from before the ejection proves nothing. */
  succeeded(startedAt: number, now: number): void {
    this.#failures = 0;
    if (!this.isEjected || startedAt < this.#ejectedAt) return;
    this.isEjected = false;
    this.#wellSince = now;
  }

  /** @returns whether it has failed too often and should be ejected */
  failed(): boolean {
    this.#failures++;
    return this.isEjected || this.#failures >= failuresMax;
  }

  eject(now: number): void {
    const wasWell = !this.isEjected && now - this.#wellSince > pardonMs;
    // What was under way when it was ejected says nothing new.
    if (this.isEjected && now < this.#ejectedUntil) return;
    this.#ejections = wasWell ? 1 : this.#ejections + 1;
    this.#ejectedAt = now;
    this.#ejectedUntil = now + Math.min(ejectionMsMax, ejectionMs * this.#ejections);
    this.isEjected = true;
    this.#failures = 0;
  }
}
