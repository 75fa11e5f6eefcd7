import type { Certificate } from '#certs/certificate.ts';
import type { CellDocument } from '#policy/cell-document.ts';
import type { LintReport } from '#policy/lint/lint.ts';
import type { ServicePolicy } from '#policy/manifest.ts';
import type { ErrorCode } from '#runtime/error-codes.ts';
import { isCellmeshError, messageOf } from '#runtime/errors.ts';
import type { OpenFiles } from '#runtime/open-files.ts';
import type { RootsReport } from '../roots.ts';
import type { ClusterFacts } from './cluster-facts.ts';

/** What was found out, or why it could not be; `code` of our own errors. */
export type Fact<T> = { readonly value: T } | { readonly unknown: string; readonly code?: ErrorCode };

/** Everything that checks judge, collected once. Times are milliseconds since the epoch. */
export interface Facts {
  readonly nowMs: number;
  /** How long certificates must still hold. */
  readonly failBeforeMs: number;
  readonly program: ProgramFacts;
  readonly certificates: readonly CertificateFacts[];
  /** What each replica says of itself; one at least. */
  readonly controlPlane: readonly ReplicaFacts[];
  readonly policy: Fact<PolicyFacts>;
  readonly rollouts: Fact<readonly RolloutFacts[]>;
  /** Of the cell, and of the global trust domain where it is known; `of` is for people. */
  readonly rotations: readonly { readonly of: string; readonly roots: Fact<RootsReport> }[];
  /** Of the last 24 hours; undefined where no service hears callers without TLS. */
  readonly plaintextCallers: Fact<readonly PlaintextCaller[]> | undefined;
  /** Of a state directory only. */
  readonly machine?: MachineFacts;
  /** Of a cluster only. */
  readonly cluster?: ClusterFacts;
}

interface ProgramFacts {
  readonly version: string;
  readonly nodeVersion: string;
  /** `NODE_OPTIONS`, which every process that is started here gets. */
  readonly nodeOptions: string;
  readonly openFiles: OpenFiles | undefined;
}

export type CertificateKind = 'svid' | 'intermediate' | 'root' | 'web' | 'webhook' | 'federated';

/** Certificates of one place. */
export interface CertificateFacts {
  /** Whose: for people. */
  readonly of: string;
  /** Of which kinds some are there, where it is as it should be. */
  readonly kinds: readonly CertificateKind[];
  readonly found: Fact<readonly CertificateSpan[]>;
}

export interface CertificateSpan {
  readonly kind: CertificateKind;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A replica of the control plane; outside of a cluster there is one. */
export interface ReplicaFacts {
  /** `the control plane`, or that of a pod. */
  readonly name: string;
  readonly said: Fact<ControlPlaneFacts>;
}

/** What the control plane says of itself (`GetStatus`), and when it was asked by our clock. */
export interface ControlPlaneFacts {
  readonly sentMs: number;
  readonly receivedMs: number;
  /** By its clock. Undefined for one that is too old to tell; so is what follows. */
  readonly timeMs: number | undefined;
  readonly version: string;
  readonly nodeVersion: string;
  readonly policyVersion: string;
  readonly policyProblems: readonly string[];
  /** Of the cell; DER in base64. */
  readonly roots: readonly string[] | undefined;
  readonly subscribers: readonly SubscriberFacts[];
  readonly decisions: { readonly records: number; readonly bytes: number; readonly bytesMax: number } | undefined;
  readonly tokenKeys:
    | { readonly count: number; readonly isConnected: boolean; readonly ageMs: number | undefined }
    | undefined;
  readonly openFiles: OpenFiles | undefined;
}

export interface SubscriberFacts {
  readonly name: string;
  readonly version: string;
  readonly types: readonly {
    readonly type: string;
    readonly revisionSent: number;
    readonly revisionAcked: number;
    readonly nackReason: string;
  }[];
}

/** The newest manifests, wherever they lie. */
export interface PolicyFacts {
  readonly report: LintReport;
  readonly cells: readonly CellDocument[];
  readonly policies: readonly ServicePolicy[];
  /** Of what they come to; undefined while errors keep them from being in force, and where versions cannot be compared. */
  readonly version: string | undefined;
}

/** Whoever called a service without TLS. */
export interface PlaintextCaller {
  /** `namespace/service-account` of the service that was called. */
  readonly service: string;
  readonly address: string;
  readonly lastMs: number;
  readonly requests: number;
}

export interface RolloutFacts {
  readonly service: string;
  readonly percent: number;
  readonly isWithdrawn: boolean;
  readonly newlyDenied: number;
  readonly allowed: number;
}

/** A state directory of `cellmesh up`, and what runs from it. */
export interface MachineFacts {
  readonly stateDir: string;
  readonly disk: Fact<{ readonly freeBytes: number; readonly totalBytes: number }>;
  /** What others than the owner get at: files of keys, and the directory itself. */
  readonly exposed: Fact<readonly { readonly path: string; readonly mode: number }[]>;
  /** What identity, control plane and router say at `/readyz`: what they wait for. */
  readonly processes: readonly { readonly name: string; readonly waitsFor: Fact<readonly string[]> }[];
  readonly sidecars: readonly SidecarFacts[];
  /** Of the ports that a start needs those in use. Absent while something of the cell runs. */
  readonly takenPorts?: Fact<readonly string[]>;
  /** The roots of the cell as the control plane has written them down, and those that each sidecar holds; DER in base64. */
  readonly roots: Fact<readonly string[]>;
  readonly heldRoots: readonly { readonly name: string; readonly roots: Fact<readonly string[]> }[];
}

export interface SidecarFacts {
  /** `namespace/name`. */
  readonly name: string;
  readonly state: Fact<SidecarState>;
}

/** What a sidecar shows at its admin socket. */
export interface SidecarState {
  readonly version: string;
  readonly nodeVersion: string;
  readonly notReady: readonly string[];
  readonly keys: number;
  readonly policyVersion: string | undefined;
  readonly feed: { readonly isConnected: boolean; readonly ageMs: number | undefined; readonly isStale: boolean };
  readonly droppedDecisions: number;
  readonly openFiles: OpenFiles | undefined;
}

/** @param signal ends the wait; the reason is why it is not known */
export async function factOf<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<Fact<T>> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    return { value: await Promise.race([ask(), aborted]) };
  } catch (error) {
    return { unknown: reasonOf(error), ...(isCellmeshError(error) && { code: error.code }) };
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

export function spanOf(kind: CertificateKind, { notBefore, notAfter }: Certificate): CertificateSpan {
  return { kind, notBefore, notAfter };
}

/** "fetch failed" says nothing; its cause does. */
function reasonOf(error: unknown): string {
  const isBare = error instanceof TypeError && error.cause instanceof Error;
  return messageOf(isBare ? error.cause : error);
}
