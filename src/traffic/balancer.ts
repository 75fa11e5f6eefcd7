import type { Clock } from '#runtime/clock.ts';
import type { Random } from '#runtime/random.ts';
import { type Instance, Member } from './member.ts';
import { PeakEwma } from './peak-ewma.ts';
import { RetryBudget } from './retry-budget.ts';

/** As long as this share of the own zone is well, everything stays there; below it the rest goes elsewhere, in proportion. */
const ownZoneShareMin = 0.7;
/** Of all instances so many may be ejected for failing: what is left must carry the load, and what fails everywhere is no instance's fault. */
const ejectedShareMax = 0.5;
const drawsMax = 8;

interface BalancerOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Where the caller itself runs. */
  readonly locality: string;
}

/** One request's place at one instance. Says how it went, and is released once, whatever came. */
export interface Placement<I extends Instance> {
  readonly instance: I;
  /** The instance has all it needs to answer: its time begins. Without it, it began with the placement. */
  sent(): void;
  /** The instance answered; `isFailure` when that answer says it is not well. */
  answered(isFailure: boolean): void;
  /** It did not answer to the end, or not in time. */
  failed(): void;
  /** No connection could be made: it saw nothing. */
  unreachable(): void;
  release(): void;
}

/**
 * Chooses among the instances of one service: of two drawn by weight the one that is likely to answer sooner (power of two choices, by peak-EWMA
 * latency and what is in flight), in the own zone first. Instances that fail are left out for a while and come back by one request that succeeds.
 */
export class Balancer<I extends Instance> {
  readonly budget = new RetryBudget();
  readonly #options: BalancerOptions;
  readonly #usual = new PeakEwma();
  readonly #members = new Map<string, Member<I>>();
  #own: readonly Member<I>[] = [];
  #others: readonly Member<I>[] = [];
  #greatestWeight = 0;
  #ejected = 0;

  constructor(options: BalancerOptions) {
    this.#options = options;
  }

  /** How many of its instances are left out at this moment. */
  get ejected(): number {
    return this.#ejected;
  }

  get size(): number {
    return this.#members.size;
  }

  /** What is known of an instance stays as long as it is listed. */
  update(instances: readonly I[]): void {
    const now = this.#options.clock.monotonic();
    const isFirst = this.#members.size === 0;
    const names = new Set(instances.map(nameOf));
    for (const name of this.#members.keys()) if (!names.has(name)) this.#members.delete(name);
    for (const instance of instances) {
      const member = this.#members.get(nameOf(instance));
      if (member === undefined) this.#members.set(nameOf(instance), new Member(instance, now, !isFirst));
      else member.instance = instance;
    }
    const all = [...this.#members.values()];
    this.#greatestWeight = Math.max(...instances.map(({ weight }) => weight));
    this.#own = all.filter(({ instance }) => instance.locality === this.#options.locality);
    this.#others = all.filter(({ instance }) => instance.locality !== this.#options.locality);
    this.#countEjected();
  }

  /** The instance for one request, other than those in `tried`; undefined when there is none. */
  pick(tried: readonly I[] = [], now = this.#options.clock.monotonic()): Placement<I> | undefined {
    const chosen = this.#choose(tried, now);
    return chosen && new HeldPlacement(chosen, now, this.#options.clock, this.#usual, this);
  }

  /** For placements: the member has failed too often. */
  eject(member: Member<I>, isUnreachable: boolean): void {
    const mayEject = member.isEjected || this.#ejected + 1 <= this.size * ejectedShareMax;
    if (isUnreachable || mayEject) member.eject(this.#options.clock.monotonic());
    this.#countEjected();
  }

  readmitted(): void {
    this.#countEjected();
  }

  #choose(tried: readonly I[], now: number): Member<I> | undefined {
    if (this.#ejected === 0 && tried.length === 0) return this.#fromZones(this.#own, this.#others, 1, now);
    const isUntried = ({ instance }: Member<I>) => !tried.includes(instance);
    for (const member of this.#members.values()) {
      if (!isUntried(member) || !member.wantsProbe(now)) continue;
      member.isProbed = true;
      return member;
    }
    const isUsable = (member: Member<I>) => !member.isEjected && isUntried(member);
    const own = this.#own.filter(isUsable);
    const others = this.#others.filter(isUsable);
    if (own.length + others.length === 0) {
      // Better one that was ill a moment ago than none.
      return this.#draw([...this.#members.values()].filter(isUntried), now);
    }
    const well = this.#own.reduce((count, { isEjected }) => (isEjected ? count : count + 1), 0);
    return this.#fromZones(own, others, this.#own.length === 0 ? 0 : well / this.#own.length, now);
  }

  #fromZones(own: readonly Member<I>[], others: readonly Member<I>[], wellShare: number, now: number) {
    if (others.length === 0) return this.#draw(own, now);
    if (own.length === 0) return this.#draw(others, now);
    const staysAtHome = wellShare >= ownZoneShareMin || this.#options.random.fraction() < wellShare / ownZoneShareMin;
    return this.#draw(staysAtHome ? own : others, now);
  }

  #draw(members: readonly Member<I>[], now: number): Member<I> | undefined {
    if (members.length <= 1) return members[0];
    const first = this.#drawOne(members, now);
    const second = this.#drawOne(members, now);
    if (first === second) return first;
    const usualMs = this.#usual.at(now);
    return first.cost(now, usualMs) <= second.cost(now, usualMs) ? first : second;
  }

  /** By weight: one that is drawn evenly is kept with the share that its weight has of the greatest. */
  #drawOne(members: readonly Member<I>[], now: number): Member<I> {
    const { random } = this.#options;
    let drawn = members[0]!;
    for (let draw = 0; draw < drawsMax; draw++) {
      drawn = members[Math.floor(random.fraction() * members.length)]!;
      const share = drawn.weight(now) / this.#greatestWeight;
      if (share >= 1 || random.fraction() < share) return drawn;
    }
    return drawn;
  }

  #countEjected(): void {
    this.#ejected = 0;
    for (const { isEjected } of this.#members.values()) if (isEjected) this.#ejected++;
  }
}

class HeldPlacement<I extends Instance> implements Placement<I> {
  readonly #member: Member<I>;
  readonly #startedAt: number;
  #sentAt: number;
  readonly #clock: Clock;
  readonly #usual: PeakEwma;
  readonly #balancer: Balancer<I>;
  readonly #isProbe: boolean;
  #isReleased = false;

  constructor(member: Member<I>, now: number, clock: Clock, usual: PeakEwma, balancer: Balancer<I>) {
    this.#member = member;
    this.#startedAt = now;
    this.#sentAt = now;
    this.#clock = clock;
    this.#usual = usual;
    this.#balancer = balancer;
    this.#isProbe = member.isProbed;
    member.inFlight++;
  }

  get instance(): I {
    return this.#member.instance;
  }

  sent(): void {
    this.#sentAt = this.#clock.monotonic();
  }

  answered(isFailure: boolean): void {
    const now = this.#clock.monotonic();
    if (isFailure) {
      this.failed();
      return;
    }
    this.#member.observe(now - this.#sentAt, now);
    this.#usual.observe(now - this.#sentAt, now);
    const wasEjected = this.#member.isEjected;
    this.#member.succeeded(this.#startedAt, now);
    if (wasEjected) this.#balancer.readmitted();
  }

  /** Failing fast must not look like being fast: its time counts only where it is long. */
  failed(): void {
    const now = this.#clock.monotonic();
    this.#member.observe(Math.max(now - this.#sentAt, this.#usual.at(now)), now);
    if (this.#member.failed()) this.#balancer.eject(this.#member, false);
  }

  unreachable(): void {
    this.#balancer.eject(this.#member, true);
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#member.inFlight--;
    if (this.#isProbe) this.#member.isProbed = false;
  }
}

function nameOf({ host, port }: Instance): string {
  return `${host} ${port}`;
}
