import type { Writable } from 'node:stream';
import type { Clock } from '#runtime/clock.ts';
import type { Config } from '#runtime/config.ts';
import type { Random } from '#runtime/random.ts';
import { AccessLog } from './access-log.ts';
import type { DecisionRing } from './decision-ring.ts';
import type { decisionSettings } from './decision-settings.ts';
import { PermitSampling } from './permit-sampling.ts';

/** `failure`: a denial, or a request that failed; `sighting`: a permit that is the first of its edge. */
export type DecisionKind = 'failure' | 'sighting' | 'permit';

/** Where finished records go. */
export interface DecisionSink {
  /** Takes one record as JSON. Never waits, never throws. */
  add(line: string, kind: DecisionKind): void;
  /** Records that never reached the disk. */
  readonly dropped: number;
  /** Records that were given to whoever reports them. */
  readonly reported: Readonly<Record<DecisionKind, number>>;
  /** Permits that were not. */
  readonly thinned: number;
  /** Lines that the reader of the access log was too slow for. */
  readonly unlogged: number;
}

interface DecisionSinksOptions {
  readonly ring: DecisionRing;
  readonly accessLog?: AccessLog | undefined;
  /** Default: every record is logged. */
  readonly accessLogsDenialsOnly?: boolean;
  /** Takes records to whoever stores them; bounded, and counts what it drops. */
  readonly report?: (line: string, kind: DecisionKind) => void;
  /** Which permits are reported. Default: all. */
  readonly sampling?: PermitSampling;
}

/**
 * Where a finished record goes: all to the ring on disk, to the access log what it is set to, and to the store every denial and failure, the first
 * permit of every edge, and of the other permits a sample.
 */
export class DecisionSinks implements DecisionSink {
  readonly reported: Record<DecisionKind, number> = { failure: 0, sighting: 0, permit: 0 };
  readonly #options: DecisionSinksOptions;
  #thinned = 0;

  constructor(options: DecisionSinksOptions) {
    this.#options = options;
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
    const { ring, accessLog, accessLogsDenialsOnly, report, sampling } = this.#options;
    ring.append(line);
    if (kind === 'failure' || accessLogsDenialsOnly !== true) accessLog?.append(line);
    if (kind !== 'permit' || sampling === undefined || sampling.take()) {
      this.reported[kind]++;
      report?.(line, kind);
    } else this.#thinned++;
  }
}

interface Setting extends Config<typeof decisionSettings> {
  readonly clock: Clock;
  readonly random: Random;
  readonly ring: DecisionRing;
  readonly stdout: Writable | undefined;
  readonly report: (line: string, kind: DecisionKind) => void;
}

/** As a process is set. */
export function decisionSinks({ accessLog, stdout, ...options }: Setting): DecisionSinks {
  const { reportedPermits: perSecond, reportedPermitsShare: share } = options;
  return new DecisionSinks({
    ...options,
    accessLog: accessLog !== 'off' && stdout !== undefined ? new AccessLog(stdout) : undefined,
    accessLogsDenialsOnly: accessLog === 'denials',
    sampling: new PermitSampling({ ...options, share, perSecond }),
  });
}
