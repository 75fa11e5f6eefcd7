/** One way from the load generator to the backend: nothing between them, or a pair of proxies. */
export interface Candidate extends AsyncDisposable {
  readonly name: string;
  /** Where it has a different set-up for some scenarios: which this one is for. Default: all. */
  readonly isFor?: (scenario: string) => boolean;
  /** Where the load generator connects (always a plain HTTP/1.1 port on loopback). */
  readonly target: { readonly port: number; readonly host: string };
  /** What requests carry beside the ordinary fields. */
  readonly fields?: Readonly<Record<string, string>>;
  /** Before each row: what `fields` hold may end after minutes. */
  refresh?(): Promise<void>;
  /** Process ids whose CPU time is the work of the hop that accepts mTLS and dials the backend; empty for none. */
  readonly inboundPids: readonly number[];
  /** Process ids of the hop that accepts the load generator's connections and dials mTLS. */
  readonly outboundPids: readonly number[];
}

export interface Backend extends AsyncDisposable {
  readonly port: number;
}
