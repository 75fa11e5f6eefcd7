import type { Writable } from 'node:stream';
import type { Clock } from '#runtime/clock.ts';
import type { Config } from '#runtime/config.ts';
import { AccessLog } from './access-log.ts';
import type { DecisionRing } from './decision-ring.ts';
import type { decisionSettings } from './decision-settings.ts';

/** `failure`: a denial, or a request that failed; `sighting`: a permit that is the first of its edge. */
export type DecisionKind = 'failure' | 'sighting' | 'permit';

/** Where finished records go. */
export interface DecisionSink {
  /** Takes one record as JSON. Never waits, never throws. */
  add(line: string, kind: DecisionKind): void;
  /** Records that never reached the disk. */
  readonly dropped: number;
  /** Permits that were too many to report. */
  readonly thinned: number;
  /** Lines that the reader of the access log was too slow for. */
  readonly unlogged: number;
}

interface DecisionSinksOptions {
  readonly clock: Clock;
  readonly ring: DecisionRing;
  readonly accessLog?: AccessLog | undefined;
  /** Default: every record is logged. */
  readonly accessLogsDenialsOnly?: boolean;
  /** Takes records to whoever stores them; bounded, and counts what it drops. */
  readonly report?: (line: string, kind: DecisionKind) => void;
  /** A second. Default: no limit. */
  readonly reportedPermits?: number;
}

/** After a pause, as many seconds' worth of permits may be reported at once. */
const burstSeconds = 10;

/**
 * Where a finished record goes: all to the ring on disk, to the access log what it is set to, and to the store every denial and failure, but of
 * permits only so many a second. A busy service would otherwise spend more on telling of requests than on deciding them.
 */
export class DecisionSinks implements DecisionSink {
  readonly #options: DecisionSinksOptions;
  readonly #perSecond: number;
  #allowance: number;
  #allowanceAt: number;
  #thinned = 0;

  constructor(options: DecisionSinksOptions) {
    this.#options = options;
    this.#perSecond = options.reportedPermits ?? Number.POSITIVE_INFINITY;
    this.#allowance = this.#perSecond * burstSeconds;
    this.#allowanceAt = options.clock.monotonic();
  }

  get thinned(): number {
    return this.#thinned;
  }

  get dropped(): number {
    return this.#options.ring.dropped;
  }

  get unlogged(): number {
    return this.#options.accessLog?.dropped ?? 0;
  }

  add(line: string, kind: DecisionKind): void {
    const { ring, accessLog, accessLogsDenialsOnly, report } = this.#options;
    ring.append(line);
    if (kind === 'failure' || accessLogsDenialsOnly !== true) accessLog?.append(line);
    if (kind !== 'permit' || this.#mayReportPermit()) report?.(line, kind);
    else this.#thinned++;
  }

  #mayReportPermit(): boolean {
    if (this.#allowance < 1) this.#refill();
    if (this.#allowance < 1) return false;
    this.#allowance--;
    return true;
  }

  #refill(): void {
    const now = this.#options.clock.monotonic();
    const earned = ((now - this.#allowanceAt) / 1000) * this.#perSecond;
    this.#allowance = Math.min(this.#perSecond * burstSeconds, this.#allowance + earned);
    this.#allowanceAt = now;
  }
}

interface Setting extends Config<typeof decisionSettings> {
  readonly clock: Clock;
  readonly ring: DecisionRing;
  readonly stdout: Writable | undefined;
  readonly report: (line: string, kind: DecisionKind) => void;
}

/** As a process is set. */
export function decisionSinks({ accessLog, stdout, ...options }: Setting): DecisionSinks {
  return new DecisionSinks({
    ...options,
    accessLog: accessLog !== 'off' && stdout !== undefined ? new AccessLog(stdout) : undefined,
    accessLogsDenialsOnly: accessLog === 'denials',
  });
}
