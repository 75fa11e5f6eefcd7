import type { KeyObject } from 'node:crypto';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import { chainPem } from '#certs/svid.ts';
import { serializeTrustBundles } from '#certs/trust-bundle-map.ts';
import type { DecisionKind } from '#feeds/decision-sinks.ts';
import type { FinishedSpan } from '#feeds/otlp-span.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import type { LogFields, LogLevel } from '#runtime/logger.ts';
import type { MetricsSnapshot } from '#runtime/metrics.ts';
import type { CellId } from '#tokens/cell-id.ts';
import type { WireLimits } from '#wire/limit-settings.ts';
import type { CandidateCounts } from './candidate-tally.ts';
import type { ListenerSpec } from './listener-spec.ts';
import type { ThreadSummary } from './request-thread.ts';

/** What a thread is told when it starts. */
export interface WorkerSetting {
  readonly instance: string;
  readonly cellId: CellId;
  readonly trustDomain: TrustDomain;
  readonly globalTrustDomain: TrustDomain;
  readonly applicationHost: string;
  readonly tracingRatio: number;
  readonly locality: string;
  readonly limits: WireLimits;
  readonly isIntercepting: boolean;
  readonly makesSpans: boolean;
  readonly budgetMemory: SharedArrayBuffer;
}

/** State travels as the documents that the control plane sends, the identity as PEM with its key. */
export interface IdentityMessage {
  readonly chain: string;
  readonly privateKey: KeyObject;
  readonly bundles: string;
}

/** Listeners are named by who opens them. */
interface Named {
  readonly id: number;
}

// Types, not interfaces: only they fit the index signature of a channel's calls.

/** What the first thread asks of the others. */
export type WorkerCalls = {
  policy(document: string): void;
  keys(document: string): void;
  endpoints(document: string): void;
  /** What is known is older than it may be. */
  stale(isStale: boolean): void;
  /** This instance goes away. */
  leave(nothing: undefined): void;
  identity(identity: IdentityMessage): Promise<void>;
  listen(wanted: Named & { readonly spec: ListenerSpec }): Promise<void>;
  close(wanted: Named & { readonly graceMs: number }): Promise<void>;
  drainTunnels(nothing: undefined): Promise<void>;
  summary(nothing: undefined): Promise<ThreadSummary>;
  metrics(nothing: undefined): Promise<MetricsSnapshot>;
  flushDecisions(nothing: undefined): Promise<void>;
  stop(nothing: undefined): Promise<void>;
};

/** One or more records as JSON, and of each what it is. */
export interface DecisionBatch {
  readonly lines: readonly string[];
  readonly kinds: readonly DecisionKind[];
}

/** What the others ask of the first: it owns the disk, the control plane, the collector and the log. */
export type MainCalls = {
  decisions(batch: DecisionBatch): void;
  span(span: FinishedSpan): void;
  /** Since the last time. */
  candidates(counts: readonly CandidateCounts[]): void;
  /** Answered when the answer, if there is one, has been told. */
  askForKey(key: { readonly iss: string; readonly kid: string }): Promise<void>;
  log(line: { readonly level: LogLevel; readonly message: string; readonly fields: LogFields }): void;
};

export function identityMessage({ svid, bundles }: TlsIdentity): IdentityMessage {
  return {
    chain: chainPem(svid.chain),
    privateKey: svid.privateKey,
    bundles: serializeTrustBundles(bundles),
  };
}
