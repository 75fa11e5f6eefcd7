import type { DecisionKind } from './decision-sinks.ts';

/** Half a minute of 300 decisions a second. */
export const waitingRecordsMax = 10_000;
/** Making room for one at a time would cost a pass over all of them each. */
const roomRecords = 500;

interface Waiting {
  readonly record: string;
  readonly kind: DecisionKind;
}

/**
 * Records that wait to be reported, oldest first, and no more of them than fit. When there is no room denials and failures go first, because they can
 * be read again from disk; first sights of an edge go last, because they come but once.
 */
export class DecisionQueue {
  #waiting: Waiting[] = [];
  #dropped = 0;

  get length(): number {
    return this.#waiting.length;
  }

  /** Permits that had to go. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Returns whether denials or failures had to go for it. */
  add(record: string, kind: DecisionKind): boolean {
    const haveFailuresLeft = this.#waiting.length >= waitingRecordsMax && this.#makeRoom();
    this.#waiting.push({ record, kind });
    return haveFailuresLeft;
  }

  /** The oldest of them. */
  take(recordsMax: number): readonly string[] {
    return this.#waiting.splice(0, recordsMax).map(({ record }) => record);
  }

  #makeRoom(): boolean {
    const failures = this.#leave('failure', roomRecords);
    const permits = this.#leave('permit', roomRecords - failures);
    const sightings = this.#leave('sighting', roomRecords - failures - permits);
    this.#dropped += permits + sightings;
    return failures > 0;
  }

  /** Returns how many went, the oldest of their kind. */
  #leave(leaving: DecisionKind, recordsMax: number): number {
    let left = 0;
    this.#waiting = this.#waiting.filter(({ kind }) => kind !== leaving || left++ >= recordsMax);
    return Math.min(left, recordsMax);
  }
}
