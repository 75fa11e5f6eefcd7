import type { TrustDomain } from '#certs/spiffe-id.ts';
import type { DecisionSink } from '#feeds/decision-sinks.ts';
import type { EndpointsByService } from '#net/endpoints.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { Random } from '#runtime/random.ts';
import type { Watch } from '#runtime/watch.ts';
import type { CellId } from '#tokens/cell-id.ts';
import type { KeySet } from '#tokens/key-set.ts';
import type { WireLimits } from '#wire/limit-settings.ts';
import type { ActivePolicy } from './active-policy.ts';
import type { CandidateTally } from './candidate-tally.ts';
import type { Interception } from './intercepted-calls.ts';
import type { SpanSink } from './request-span.ts';

/** What every thread of a sidecar that serves requests is made of. */
export interface RequestThreadOptions {
  /** Begins the ids of decisions. */
  readonly instance: string;
  readonly cellId: CellId;
  readonly trustDomain: TrustDomain;
  readonly globalTrustDomain: TrustDomain;
  /** Absent where no packet filter redirects anything. */
  readonly interception?: Interception | undefined;
  readonly applicationHost: string;
  readonly tracingRatio: number;
  /** Where this sidecar runs. */
  readonly locality: string;
  readonly limits: WireLimits;
  readonly policy: Watch<ActivePolicy | undefined>;
  readonly keySet: Watch<KeySet>;
  readonly endpoints: Watch<EndpointsByService>;
  /** What is known is older than it may be. */
  readonly isStale: (nowMs: number) => boolean;
  /** This instance goes away. */
  readonly isLeaving: () => boolean;
  readonly askForKey?: (iss: string, kid: string) => Promise<void>;
  /** Where finished records go. */
  readonly decisions: DecisionSink;
  /** What limits of rules are counted in, by all threads (`sharedRateLimiterMemory`). */
  readonly budgetMemory: SharedArrayBuffer;
  /** Counts what candidates say. */
  readonly candidates: CandidateTally;
  /** Where spans of sampled requests go. Default: none are made. */
  readonly spans?: SpanSink | undefined;
  /** Other threads serve requests of the same sidecar: ports are theirs too, and so are handles. */
  readonly hasOthers: boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}
