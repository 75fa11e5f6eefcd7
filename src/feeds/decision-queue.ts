import type { DecisionKind } from './decision-sinks.ts';
import { EncodedText } from './encoded-text.ts';

/** Half a minute of 300 decisions a second. */
export const waitingRecordsMax = 10_000;
/** Making room for one at a time would cost a pass over all of them each. */
const roomRecords = 500;

/**
 * Records that wait to be reported, oldest first, and no more of them than fit. When there is no room denials and failures go first, because they can
 * be read again from disk; first sights of an edge go last, because they come but once.
 */
export class DecisionQueue {
  readonly #text = new EncodedText();
  /** Of each record: its kind, and where it ends in `#text`; the next one starts there. */
  #kinds: DecisionKind[] = [];
  #ends: number[] = [];
  #dropped = 0;

  get length(): number {
    return this.#kinds.length;
  }

  /** Permits that had to go. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Returns whether denials or failures had to go for it. */
  add(record: string, kind: DecisionKind): boolean {
    const haveFailuresLeft = this.length >= waitingRecordsMax && this.#makeRoom();
    this.#text.append(record);
    this.#kinds.push(kind);
    this.#ends.push(this.#text.length);
    return haveFailuresLeft;
  }

  /** The oldest of them. */
  take(recordsMax: number): readonly string[] {
    const records: string[] = [];
    this.#keep((_kind, start, end) => {
      if (records.length >= recordsMax) return true;
      records.push(this.#text.text(start, end));
      return false;
    });
    return records;
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
    this.#keep((kind) => {
      if (kind !== leaving || left >= recordsMax) return true;
      left++;
      return false;
    });
    return left;
  }

  /** Those of which `isKept` says so, which is asked once for each, in order. */
  #keep(isKept: (kind: DecisionKind, start: number, end: number) => boolean): void {
    const [kinds, ends]: [DecisionKind[], number[]] = [[], []];
    let [start, kept] = [0, 0];
    for (const [index, kind] of this.#kinds.entries()) {
      const end = this.#ends[index]!;
      if (isKept(kind, start, end)) {
        this.#text.move(start, end, kept);
        kept += end - start;
        kinds.push(kind);
        ends.push(kept);
      }
      start = end;
    }
    this.#text.truncate(kept);
    this.#kinds = kinds;
    this.#ends = ends;
  }
}
