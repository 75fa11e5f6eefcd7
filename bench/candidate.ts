/** One way from the load generator to the backend: nothing between them, or a pair of proxies. */
export interface Candidate extends AsyncDisposable {
  readonly name: string;
  /** Where it has a different set-up for some scenarios: which this one is for. Default: all. */
  readonly isFor?: (scenario: string) => boolean;
  /** Where the load generator connects: a plain port on loopback that takes HTTP/1.1. */
  readonly target: Target;
  /** The same for gRPC on HTTP/2 with prior knowledge. Default: `target`. */
  readonly grpcTarget?: Target;
  /** What requests carry beside the ordinary fields. */
  readonly fields?: Readonly<Record<string, string>>;
  /** As `fields`, one set for each of `tokens` different customers' tokens; for candidates that look at tokens. */
  fieldSets?(tokens: number): Promise<readonly Readonly<Record<string, string>>[]>;
  /** What serves its requests becomes faster with the first ten thousand of them. */
  readonly compilesAtRunTime?: boolean;
  /** Before each row: what `fields` hold may end after minutes. */
  refresh?(): Promise<void>;
  /** Process ids whose CPU time is the work of the hop that accepts mTLS and dials the backend; empty for none. */
  readonly inboundPids: readonly number[];
  /** Process ids of the hop that accepts the load generator's connections and dials mTLS. */
  readonly outboundPids: readonly number[];
  /** What a client that is no hop of the pair needs to call the inbound hop itself. */
  foreign?(): Promise<Foreign>;
  /** Starts one more inbound hop, ends it when it serves, and says how long that took, by what it had when it started. */
  timeStart?(): Promise<Readonly<Record<string, number>>>;
}

export interface Target {
  readonly port: number;
  readonly host: string;
}

/** A foreign client's way in: an address, an identity (PEM) and what requests carry. */
export interface Foreign extends Target {
  readonly certificate: string;
  readonly key: string;
  readonly root: string;
  readonly fields: Readonly<Record<string, string>>;
}

export interface Backend extends AsyncDisposable {
  readonly port: number;
  readonly grpcPort: number;
}

/** Scenarios in which clients speak HTTP/2: peers have pairs of their own for them. */
export function isHttp2(scenario: string): boolean {
  return scenario.startsWith('grpc-') || scenario === 'idle';
}
