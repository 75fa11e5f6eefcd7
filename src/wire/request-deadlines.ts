import type { Clock, Scheduled } from '#runtime/clock.ts';

interface DeadlineOwner {
  /** The time has come. Not after `cancel`. */
  timeIsUp(): void;
}

/** A time by which something has to be over, one of a list that leads through all of them. */
class Entry implements Scheduled {
  readonly at: number;
  owner: DeadlineOwner | undefined;
  before: Entry | undefined;
  after: Entry | undefined;
  readonly #list: RequestDeadlines;

  constructor(list: RequestDeadlines, at: number, owner: DeadlineOwner) {
    this.#list = list;
    this.at = at;
    this.owner = owner;
  }

  cancel(): void {
    if (this.owner === undefined) return;
    this.owner = undefined;
    this.#list.remove(this);
  }
}

/**
 * The times by which whole requests have to be over, by one timer for all of them: hardly any of them ever comes, and setting and clearing a timer
 * of Node's for each costs half a microsecond.
 */
class RequestDeadlines {
  readonly #clock: Clock;
  #first: Entry | undefined;
  #timer: Scheduled | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  set(delayMs: number, owner: DeadlineOwner): Scheduled {
    const now = this.#clock.monotonic();
    const entry = new Entry(this, now + delayMs, owner);
    entry.after = this.#first;
    if (this.#first !== undefined) this.#first.before = entry;
    this.#first = entry;
    this.#arm(entry.at, now);
    return entry;
  }

  /** For entries: one was cancelled. The timer runs on and finds nothing, which is cheaper than to stop it. */
  remove(entry: Entry): void {
    const { before, after } = entry;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after !== undefined) after.before = before;
    // One that is old enough for a full collection only would keep all those alive that came after it.
    entry.before = entry.after = undefined;
  }

  #arm(at: number, now: number): void {
    if (at >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = this.#clock.schedule(at - now, () => this.#look());
  }

  #look(): void {
    const now = this.#clock.monotonic();
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const due: Entry[] = [];
    let next = Number.POSITIVE_INFINITY;
    for (let entry = this.#first; entry !== undefined; entry = entry.after) {
      // setTimeout counts whole milliseconds and may come a fraction early.
      if (entry.at <= now + 1) due.push(entry);
      else next = Math.min(next, entry.at);
    }
    if (next !== Number.POSITIVE_INFINITY) this.#arm(next, now);
    // An owner may cancel others.
    for (const entry of due.sort((a, b) => a.at - b.at)) {
      const { owner } = entry;
      entry.cancel();
      owner?.timeIsUp();
    }
  }
}

const byClock = new WeakMap<Clock, RequestDeadlines>();

/** Those of the thread that go by `clock`. */
export function requestDeadlines(clock: Clock): RequestDeadlines {
  let deadlines = byClock.get(clock);
  if (deadlines === undefined) {
    deadlines = new RequestDeadlines(clock);
    byClock.set(clock, deadlines);
  }
  return deadlines;
}
