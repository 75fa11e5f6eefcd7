import type { CandidateVerdict } from '#policy/decide-inbound.ts';

/** Of the requests that a candidate was asked about. */
export interface CandidateCounts {
  readonly version: string;
  /** Allowed by the version in force, and those of them that the candidate denies. */
  readonly allowed: number;
  readonly newlyDenied: number;
  /** Denied by the version in force, and allowed by the candidate. */
  readonly newlyAllowed: number;
}

/** What candidates said, by their versions. */
export class CandidateTally {
  /** The newest last. A service has one candidate at a time. */
  readonly #counts = new Map<string, { allowed: number; newlyDenied: number; newlyAllowed: number }>();

  count({ version, before, outcome }: CandidateVerdict): void {
    const counts = this.#countsOf(version);
    if (before === 'permit') {
      counts.allowed++;
      if (outcome === 'deny') counts.newlyDenied++;
    } else if (outcome === 'permit') counts.newlyAllowed++;
  }

  add({ version, allowed, newlyDenied, newlyAllowed }: CandidateCounts): void {
    const counts = this.#countsOf(version);
    counts.allowed += allowed;
    counts.newlyDenied += newlyDenied;
    counts.newlyAllowed += newlyAllowed;
  }

  all(): readonly CandidateCounts[] {
    return [...this.#counts].map(([version, counts]) => ({ version, ...counts }));
  }

  /** All of it, to be counted by somebody else. */
  take(): readonly CandidateCounts[] {
    const taken = this.all();
    this.#counts.clear();
    return taken;
  }

  #countsOf(version: string) {
    let counts = this.#counts.get(version);
    if (counts === undefined) {
      if (this.#counts.size >= versionsMax) this.#counts.delete(this.#counts.keys().next().value!);
      counts = { allowed: 0, newlyDenied: 0, newlyAllowed: 0 };
      this.#counts.set(version, counts);
    }
    return counts;
  }
}

/** Of past candidates nobody asks any more. */
const versionsMax = 8;
